"""What can be done to a container and in it, to many, to images, volumes, jobs, users, backups and one's own account,
by clicks alone: in `make test` in two of the eight ways of languages, themes and widths, in `make soak` in all. What
changes is asked of the engine. Nothing is found by its words, which differ. axe-core looks at the dialogs and at the
pages after acts.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine import ContainerSpec, Engine, HealthCheck, State, VolumeMount
from tests.browser.conftest import PASSWORD, Console, picture, sign_up
from tests.browser.looking import WIDTHS, faults
from tests.conftest import eventually
from tests.images import small_starter
from tests.soak import amount

pytestmark = pytest.mark.browser
SAYS = "echo in port; echo '[ERROR] aground'; echo 'a leak' >&2"
BIG_MIB = 400
NEXT = "another long and quiet harbour"
ALL = tuple(product(("en", "zh-hans"), ("light", "dark"), WIDTHS))
WAYS = amount((("en", "dark", "phone"), ("zh-hans", "light", "desk")), ALL)


class Hands:
    """Somebody in front of a console in one way; and what is wrong with what was shown."""

    def __init__(self, page: Page, console: Console, way: tuple[str, str, str]) -> None:
        language, theme, width = way
        self.page = page
        self.way = "-".join(way)
        self.wrong: list[str] = []
        self._address = console.address
        sign_up(page, console)
        page.set_viewport_size(WIDTHS[width])  # type: ignore[arg-type]
        page.context.add_cookies([{"name": "wharfie_language", "value": language, "url": console.address}])
        page.add_init_script(f"localStorage.setItem('theme', '{theme}')")

    def go(self, path: str) -> None:
        self.page.goto(self._address + path)

    def look(self, what: str) -> None:
        """axe on what is shown, and whether it fits."""
        self.wrong += [f"{what} ({self.way}): {fault}" for fault in faults(self.page)]
        picture(self.page, f"act-{what}-{self.way}")

    def press(self, selector: str, *, then: str | None = None) -> None:
        """A button of the page; ``then`` appears."""
        self.page.locator(selector).first.click()
        if then:
            expect(self.page.locator(then).first).to_be_visible(timeout=20_000)

    def ask(self, selector: str, what: str) -> None:
        """A button that opens a dialog, which is looked at."""
        self.press(selector, then="dialog[open] form")
        self.look(what)

    def answer(self) -> None:
        """Press what the dialog is there for."""
        self.page.locator("dialog[open] form").locator("button.primary, button.danger").last.click()

    def send(self, what: str) -> None:
        """The page's form; its answer is looked at."""
        with self.page.expect_navigation():
            self.page.locator("main form").locator("button.primary").last.click()
        self.look(what)

    def fill(self, **fields: str) -> None:
        """Fields of the page's form, by their names."""
        for name, value in fields.items():
            field = self.page.locator(f"main form [name={name}], dialog[open] form [name={name}]").last
            if not field.is_visible():  # in a section that is closed
                self.page.locator(f"details:has([name={name}]) > summary").first.click()
            field.fill(value)

    def job(self) -> None:
        """The job that one was led to ends well."""
        self.page.wait_for_url(re.compile("/jobs/"))
        expect(self.page.locator("main .state.ok").first).to_be_visible(timeout=90_000)


@pytest.fixture
def harbour(console: Console) -> Iterator[Engine]:
    """A container with all that can be acted upon."""
    check = HealthCheck(("sh", "-c", "echo well"), interval_s=1000)
    command = ("sh", "-c", f"trap 'exit 0' TERM; {SAYS}; while :; do sleep 0.1; done")
    with Engine(console.config) as engine:
        small_starter(engine)
        engine.create_volume("hold")
        mount = (VolumeMount("hold", "/data"),)
        spec = ContainerSpec(
            "wharfie/starter", name="web", command=command, health=check, volumes=mount, env=("SECRET=seven seas",)
        )
        engine.start(engine.create(spec).id)
        yield engine
        for container in engine.containers():
            engine.remove(container.id, force=True)


@pytest.fixture(params=WAYS, ids="-".join)
def hands(request: pytest.FixtureRequest, page: Page, console: Console) -> Hands:
    return Hands(page, console, request.param)


def is_so(state: State, engine: Engine, name: str = "web") -> bool:
    return eventually(lambda: engine.inspect(name).state is state, 20)


def test_what_is_done_to_one_container(hands: Hands, harbour: Engine) -> None:
    page = hands.page
    hands.go("/containers/web/")
    for button, then, state in (
        ("#pause", "#unpause", State.PAUSED),
        ("#unpause", "#pause", State.RUNNING),
        ("#stop", "#start", State.EXITED),
        ("#start", "#stop", State.RUNNING),
        ("#kill", "#start", State.EXITED),
        ("#start", "#stop", State.RUNNING),
    ):
        hands.press(button, then=then)
        assert is_so(state, harbour), button
        hands.look(button.strip("#"))
    before = harbour.inspect("web").pid
    hands.press("#restart")
    assert eventually(lambda: harbour.inspect("web").pid not in (None, before), 20)

    hands.press("#more-acts", then="#more")
    hands.look("more")
    with page.expect_download() as export:
        page.locator("#more a[download]").click()
    assert export.value.suggested_filename.endswith(".tar")
    assert Path(export.value.path()).stat().st_size > 10_000

    hands.go("/containers/web/health/")
    hands.press("main form.acts button", then="#now .state.ok")
    hands.look("health")
    hands.go("/containers/web/processes/")
    page.locator("tbody [name=process]").first.check()
    page.locator("#signal").select_option("CONT")
    with page.expect_navigation():
        page.locator("#send").click()
    hands.look("signal")

    hands.go("/containers/web/config/")
    hands.fill(memory="64m")
    hands.send("config")
    assert harbour.inspect("web").spec.limits.memory_bytes == 64 * 2**20
    hands.ask("a[href$='/config/1/restore/']", "restore")
    hands.answer()
    assert eventually(lambda: harbour.inspect("web").spec.limits.memory_bytes != 64 * 2**20, 20)
    hands.go("/containers/web/config/")
    hands.fill(name="harbour")
    hands.send("rename")
    assert is_so(State.RUNNING, harbour, "harbour")

    hands.go("/containers/harbour/commit/")
    hands.fill(name="kept:1")
    hands.send("commit")
    hands.job()
    assert harbour.image("kept:1")
    hands.go("/containers/harbour/config/")
    hands.ask("main form a[href$='/clone/']", "clone")
    hands.fill(name="twin")
    hands.answer()
    hands.job()
    assert harbour.inspect("twin").spec.volumes[0].volume != "hold"
    hands.go("/containers/harbour/config/")
    page.locator("main form a[href*='?like=']").click()
    hands.fill(name="double")
    hands.send("duplicate")
    assert is_so(State.RUNNING, harbour, "double")
    hands.go("/containers/harbour/recreate/")
    hands.fill(env="A=1")
    hands.send("recreate")
    assert harbour.inspect("harbour").spec.env[-1] == "A=1"
    assert is_so(State.EXITED, harbour, "harbour-before-1")

    hands.go("/containers/harbour/")
    hands.ask("#remove", "remove")
    hands.answer()
    assert eventually(lambda: "harbour" not in {each.name for each in harbour.containers()}, 20)
    hands.look("removed")
    assert not hands.wrong, "\n".join(hands.wrong)


def test_what_is_done_to_many_and_to_what_else_there_is(hands: Hands, harbour: Engine) -> None:
    page = hands.page
    hands.go("/containers/-/create/")
    hands.fill(image="wharfie/starter", name="second", command="sh -c 'trap exit TERM; sleep 1000 & wait'")
    hands.send("create")
    assert is_so(State.RUNNING, harbour, "second")
    hands.go("/containers/")
    for act, state in (("pause", State.PAUSED), ("unpause", State.RUNNING), ("kill", State.EXITED),
                       ("start", State.RUNNING), ("restart", State.RUNNING), ("stop", State.EXITED)):  # fmt: skip
        before = {each.pid for each in harbour.containers()}
        for box in page.locator("tbody [name=id]").all():
            box.check()
        page.evaluate(
            "document.querySelectorAll('#toasts .toast').forEach((each) => each.remove())"
        )  # of the one before
        with page.expect_response("**/containers/-/bulk/"):  # or its answer falls into the next act
            hands.press(f"#bulk [value={act}]")
        if act == "restart":
            assert eventually(lambda was=before: not was & {each.pid for each in harbour.containers()}, 20)
        assert all(is_so(state, harbour, name) for name in ("web", "second")), act
        expect(page.locator("#toasts .toast.success").last).to_be_visible()
        hands.look(f"bulk-{act}")
    hands.ask("#bulk [value=remove]", "bulk-remove")
    hands.answer()
    assert eventually(lambda: not harbour.containers(), 20)

    hands.go("/volumes/")
    hands.fill(name="new")
    hands.send("volume")
    assert {volume.name for volume in harbour.volumes()} == {"hold", "new"}
    hands.ask("a[href='/volumes/new/remove/']", "volume-remove")
    hands.fill(typed="new")
    hands.answer()
    assert eventually(lambda: [volume.name for volume in harbour.volumes()] == ["hold"], 20)
    hands.go("/images/")
    hands.ask("a[href$='/remove/']", "image-remove")
    hands.answer()
    assert eventually(lambda: not harbour.images(), 20)
    hands.look("images-none")

    hands.go("/users/create/")
    hands.fill(username="mate")
    hands.send("user")
    hands.go("/users/")
    page.locator("details.menu > summary").last.click()
    page.locator("a[href$='/remove/']").last.click()
    hands.look("user-remove")
    page.locator("main form button.danger").click()
    expect(page.locator("main")).not_to_contain_text("mate")

    hands.go("/system/")
    page.locator("form[action='/system/backups/'] button").click()
    hands.job()
    hands.go("/system/")
    hands.ask("a[href*='/backups/'][href$='/remove/']", "backup-remove")
    hands.answer()
    expect(page.locator("a[href*='/backups/'][href$='/remove/']")).to_have_count(0)
    assert not hands.wrong, "\n".join(hands.wrong)


def test_what_is_done_inside_of_one(hands: Hands, harbour: Engine) -> None:
    page = hands.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    hands.go("/containers/web/")
    hands.press("#environment summary", then="#environment button")
    hands.press("#environment button", then="#environment >> text=SECRET=seven seas")
    hands.look("variables")
    hands.press("dl.kv [data-copy]")
    assert "echo in port" in page.evaluate("navigator.clipboard.readText()")

    hands.go("/containers/web/logs/")
    for option in ("wrap", "times", "fields"):
        hands.press(f"[data-log-toggle={option}]")
        expect(page.locator(f"[data-log-toggle={option}]")).to_have_attribute("aria-pressed", "false")
    hands.look("log")
    for option in ("wrap", "times", "fields"):
        hands.press(f"[data-log-toggle={option}]")
    line = page.locator("ol.log li", has_text="aground")
    line.hover()
    line.locator(".copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == "[ERROR] aground"
    page.locator("form.logbar [name=q]").fill("port|ground")
    if not page.locator("form.logbar [name=regex]").is_visible():  # on a phone
        hands.press("form.logbar summary")
    page.locator("form.logbar [name=regex]").check()
    with page.expect_navigation():
        page.locator("form.logbar button").click()
    expect(page.locator("ol.log li")).to_have_count(2)
    with page.expect_download() as lines:
        page.locator("[data-log-file]").click()
    assert lines.value.path().read_text().count("\n") == 2
    page.locator("ol.log li a").first.click()
    expect(page.locator("ol.log li.chosen")).to_contain_text("in port")
    hands.look("line")

    hands.go("/containers/web/files/?path=/tmp")
    page.locator("form[enctype] [type=file]").set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"one"}
    )
    with page.expect_navigation():
        page.locator("form[enctype] button").first.click()
    page.locator("form[action*='/folder/'] [name=name]").fill("hold")
    with page.expect_navigation():
        page.locator("form[action*='/folder/'] button").click()
    hands.look("uploaded")
    page.locator("td.entry a", has_text="notes.txt").click()
    page.locator("main a.primary").click()
    hands.fill(text="two\n")
    hands.send("edited")
    expect(page.locator("pre.content")).to_have_text("two\n")
    hands.ask("main a[href*='/rename/']", "file-rename")
    hands.fill(name="log.txt")
    hands.answer()
    with page.expect_download() as file:
        page.locator("tr", has_text="log.txt").locator("a[download]").click()
    assert file.value.path().read_text() == "two\n"
    for name in ("log.txt", "hold"):
        page.locator("tr", has_text=name).locator("a.danger").click()
        hands.look(f"file-remove-{name.partition('.')[0]}")
        hands.answer()
        expect(page.locator("td.entry", has_text=name)).to_have_count(0)
    with page.expect_download() as tree:
        page.locator(".files-bar a[download]").click()
    assert tree.value.suggested_filename.endswith(".tar")

    hands.go("/containers/web/terminals/")
    with page.expect_navigation():
        page.locator("main form button.primary").click()
    shown = ".xterm-rows"
    expect(page.locator(shown)).to_contain_text("#")
    page.keyboard.type("x=6; echo it is $((x*7))\n")
    expect(page.locator(shown)).to_contain_text("it is 42")
    hands.look("terminal")
    other = page.context.new_page()  # a second tab comes to the same one, and both type
    other.goto(page.url)
    expect(other.locator(shown)).to_contain_text("it is 42")
    other.keyboard.type("echo $((x*8)) more\n")
    expect(page.locator(shown)).to_contain_text("48 more")
    other.close()
    hands.ask("main a.danger[href$='/end/']", "hang-up")
    hands.answer()
    expect(page.locator("[data-terminal]")).to_have_count(0)
    assert eventually(lambda: not harbour.terminals("web"), 20)
    assert not hands.wrong, "\n".join(hands.wrong)


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root file system that takes seconds to read."""
    path = tmp_path_factory.mktemp("big") / "big.tar"
    noise = os.urandom(2**20)
    with tarfile.open(path, "w") as tar:
        about = tarfile.TarInfo("srv/noise")
        about.size = 2**20
        for number in range(BIG_MIB):
            about.name = f"srv/noise-{number}"
            tar.addfile(about, io.BytesIO(noise))
    yield path
    path.unlink()


def test_what_is_done_with_jobs_and_with_ones_own_account(hands: Hands, harbour: Engine, big: Path) -> None:
    page = hands.page
    hands.go("/images/import/")
    hands.fill(path=str(big), name="team/big:1")
    hands.send("import")
    page.wait_for_url(re.compile("/jobs/"))
    hands.press("form[action$='/cancel/'] button", then="main form[action$='/forget/'] button")
    hands.look("cancelled")
    assert {image.tags for image in harbour.images()} == {("wharfie/starter:latest",)}
    hands.press("main a.primary, main form button.primary")  # tries again: as it was, or from the form
    if not re.search("/jobs/", page.url):
        hands.send("again")
    hands.job()
    assert harbour.image("team/big:1")
    hands.press("form[action$='/forget/'] button", then="main h1")
    hands.look("jobs")

    page.keyboard.press("Control+k")
    expect(page.locator("#palette[open]")).to_be_visible()
    page.keyboard.type("web")
    expect(page.locator("#palette a, #palette button").filter(has_text="web").first).to_be_visible()
    hands.look("palette")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/containers/"))

    hands.go("/account/tokens/create/")
    hands.fill(password=PASSWORD)
    hands.send("confirmed")
    hands.fill(name="nightly")
    hands.send("token")
    page.locator("main a.primary").click()
    with page.expect_navigation():
        page.locator("form[action*='/tokens/'] button.danger").click()
    expect(page.locator("form[action*='/tokens/']")).to_have_count(0)
    elsewhere = page.context.browser.new_context()  # type: ignore[union-attr]
    there = elsewhere.new_page()
    there.goto(page.url)
    there.locator("[name=username]").fill("captain")
    there.locator("[type=password]").fill(PASSWORD)
    there.locator("main form button.primary").first.click()
    there.wait_for_url(page.url)
    hands.go("/account/")
    hands.look("sessions")
    with page.expect_navigation():
        page.locator("main header form button").click()
    there.wait_for_url(re.compile("/sign-in/"), timeout=20_000)
    elsewhere.close()
    hands.go("/account/password/")
    for field, text in zip(page.locator("main [type=password]").all(), (PASSWORD, NEXT, NEXT), strict=True):
        field.fill(text)
    hands.send("password")
    page.locator("[popovertarget=user]:visible").first.click()
    expect(page.locator("#user")).to_be_visible()
    hands.look("user")
    page.locator("#user form[data-leaves] button").click()
    page.wait_for_url(re.compile("/sign-in/"))
    hands.look("signed-out")
    page.locator("[name=username]").fill("captain")
    page.locator("[type=password]").fill(NEXT)
    page.locator("main form button.primary").first.click()
    page.wait_for_url(lambda url: "/sign-in/" not in url)
    assert not hands.wrong, "\n".join(hands.wrong)
