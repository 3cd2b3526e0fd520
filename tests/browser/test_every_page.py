"""Every page in English and Chinese, by day and night, on a desk and on a phone: in `make soak` in all eight ways. In
`make test` each language has two of the four others, so that each page is looked at in all of those.

axe-core finds nothing, the browser logs no error, the content policy refuses nothing, nothing is wider than the screen.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from itertools import product

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from playwright.sync_api import Page, expect

from engine import ContainerSpec, Engine, ExecSpec, HealthCheck, Limits, VolumeMount
from tests.browser import pages
from tests.browser.conftest import PASSWORD, Console, authenticator, picture, sign_up
from tests.browser.looking import WIDTHS, faults
from tests.images import small_starter
from tests.soak import amount

pytestmark = pytest.mark.browser
ALL = tuple(product(WIDTHS, ("light", "dark")))
WAYS = {
    "en": amount((("desk", "light"), ("phone", "dark")), ALL),
    "zh-hans": amount((("phone", "light"), ("desk", "dark")), ALL),
}


@pytest.fixture
def harbour(local: Console) -> Iterator[dict[str, str]]:
    """A console with something of each kind; the names that stand in addresses."""
    talk = ("sh", "-c", "echo a line; echo scratch > /tmp/scratch; read word")
    check = HealthCheck(("sh", "-c", "echo well"), interval_s=1)
    with Engine(local.config) as engine:
        image = small_starter(engine)
        engine.create_volume("harbour")
        spec = ContainerSpec("wharfie/starter", name="web", command=talk, tty=True, health=check)
        web = engine.create(dataclasses.replace(spec, env=("A=1",), volumes=(VolumeMount("harbour", "/data"),)))
        engine.start(web.id)
        engine.update(web.id, Limits(memory_bytes=64 * 2**20))
        terminal = engine.terminal(web.id, ExecSpec(("sh",)))
        terminal.close()
        done = engine.create(ContainerSpec(image="wharfie/starter", name="done", command=("sh", "-c", "exit 3"))).id
        engine.start(done)
        engine.wait(done)
        fails = HealthCheck(("sh", "-c", "echo aground; exit 1"), interval_s=1, retries=1)
        sick = ContainerSpec(image="wharfie/starter", name="sick", command=("sleep", "1000"), health=fails)
        engine.start(engine.create(sick).id)
        engine.create(ContainerSpec(image="wharfie/starter", name="new"))
        yield {"web": "web", "done": "done", "sick": "sick", "image": image.id, "session": terminal.info.session}
        for container in engine.containers():
            engine.remove(container.id, force=True)


def faults_by(page: Page, theme: str) -> list[str]:
    """What is wrong with the page as it is shown now. Night differs from day in colours alone."""
    page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    return faults(page, *(["color-contrast"] if theme == "dark" else []))


def look(page: Page, language: str, name: str, where: str) -> list[str]:
    """Look at what is shown in the ways of a language; what is wrong, each with where."""
    found = []
    for width, theme in WAYS[language]:
        page.set_viewport_size(WIDTHS[width])  # type: ignore[arg-type]
        found += [f"{where} ({theme}, {width}): {fault}" for fault in faults_by(page, theme)]
        picture(page, f"{language}-{name}-{width}-{theme}", full_page=True)
    page.set_viewport_size(WIDTHS["desk"])  # type: ignore[arg-type]
    return found


def walk(page: Page, console: Console, language: str, paths: Iterable[str]) -> list[str]:
    """Look at all of them."""
    page.context.add_cookies([{"name": "wharfie_language", "value": language, "url": console.address}])
    found = []
    for path in paths:
        page.goto(console.address + path)
        expect(page.locator(f"html[lang={language}] main")).to_be_visible()
        name = re.sub(r"[0-9a-f]{32,}", "", path)
        found += look(page, language, re.sub(r"[^a-z0-9]+", "-", name).strip("-") or "overview", path)
    return found


def confirmed(page: Page, console: Console) -> None:
    """Say the password again, which some pages want."""
    page.goto(f"{console.address}/account/confirm/?next=/account/")
    page.locator("input[type=password]").fill(PASSWORD)
    page.locator("main form button.primary").click()
    page.wait_for_url(f"{console.address}/account/")


def secured(page: Page, console: Console) -> dict[str, str]:
    """Set up an authenticator app and a passkey."""
    authenticator(page)
    page.goto(f"{console.address}/account/app/add/")
    page.locator("input[name=code]").fill(code(page.locator("#key").input_value()))
    page.locator("main form button.primary").click()
    page.wait_for_url(re.compile("/account/codes/"))
    page.goto(f"{console.address}/account/passkeys/add/")
    page.locator("#id_name").fill("laptop")
    page.locator("main form button.primary").click()
    page.wait_for_url(re.compile("/account/$"))
    href = page.locator("a[href*='/passkeys/'][href*='remove']").get_attribute("href")
    return {"passkey": (href or "").split("/")[3]}


def code(key: str) -> str:
    """What the app would show (RFC 6238)."""
    return str(format_hotp_value(hotp_value(key, next(yield_hotp_counters_from_time()))))


def made(page: Page, console: Console) -> dict[str, str]:
    """By clicks: a job that is done, a backup, a second user, and one more with a link to set the account up."""
    page.goto(f"{console.address}/images/")
    page.locator("form[action='/images/starter/'] button").first.click()
    page.wait_for_url(re.compile("/jobs/"))
    job = page.url.rstrip("/").rpartition("/")[2]
    expect(page.locator("main .state.ok").first).to_be_visible(timeout=90_000)
    page.goto(f"{console.address}/system/")
    page.locator("form[action='/system/backups/'] button").click()
    expect(page.locator("main .state.ok").first).to_be_visible(timeout=90_000)
    page.goto(f"{console.address}/system/")
    backup = (page.locator("a[href*='/backups/'][href*='remove']").first.get_attribute("href") or "").split("/")[3]
    page.goto(f"{console.address}/users/create/")
    page.locator("main input[name=username]").fill("mate")
    page.locator("main form button.primary").click()
    token = re.search(r"/setup/([^/\s\"<]+)/", page.content())
    page.goto(f"{console.address}/users/")
    user = (page.locator("a[href$='/remove/']").last.get_attribute("href") or "").split("/")[2]
    assert token
    return {"job": job, "backup": backup, "user": user, "token": token[1]}


def removing(page: Page, console: Console, language: str) -> list[str]:
    """What is asked before many are removed at once."""
    page.goto(f"{console.address}/containers/")
    for box in page.locator("tbody input[type=checkbox]").all():
        box.check()
    page.locator("#bulk [value=remove]").click()
    expect(page.get_by_role("dialog").locator("form")).to_be_visible()
    return look(page, language, "containers-bulk", "bulk removal")


def left(page: Page) -> None:
    """As somebody who was never here; a page that is open would load itself again to say so."""
    page.goto("about:blank")
    page.context.clear_cookies()


@pytest.mark.parametrize("language", WAYS)
def test_every_page_is_accessible_and_fits(page: Page, local: Console, harbour: dict[str, str], language: str) -> None:
    found = walk(page, local, language, pages.OUTSIDE[:2])
    left(page)
    sign_up(page, local)
    confirmed(page, local)
    harbour |= made(page, local)
    found += walk(page, local, language, [path.format_map(harbour) for path in pages.PAGES])
    page.goto(f"{local.address}/containers/sick/")
    expect(page.locator("#unhealthy .btn")).to_be_visible()
    page.locator("#unhealthy .btn").click()
    expect(page.locator("#unhealthy")).to_be_visible()
    expect(page.locator("#unhealthy .btn")).to_be_hidden()
    found += removing(page, local, language)
    confirmed(page, local)  # it counts for some minutes only
    harbour |= secured(page, local)
    found += walk(page, local, language, [path.format_map(harbour) for path in pages.SECURED])
    left(page)
    found += walk(page, local, language, [path.format_map(harbour) for path in pages.OUTSIDE[2:]])
    page.goto(f"{local.address}/sign-in/")
    page.locator("input[name=username]").fill("captain")
    page.locator("input[type=password]").fill(PASSWORD)
    page.locator("main form button.primary").first.click()
    page.wait_for_url(re.compile("/second-step/"))
    found += walk(page, local, language, pages.HALFWAY)
    assert not found, "\n".join(found)


@pytest.fixture
def debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHARFIE_DEBUG", "1")


@pytest.mark.usefixtures("debug")
def test_every_piece_is_accessible_and_fits(page: Page, console: Console) -> None:
    sign_up(page, console)
    found = walk(page, console, "en", ["/styleguide/"]) + walk(page, console, "zh-hans", ["/styleguide/"])
    page.context.clear_cookies(name="wharfie_language")
    page.goto(f"{console.address}/styleguide/")
    for opens in ("palette", "keys", "sample"):
        page.locator(f"main [data-opens={opens}]").click()
        expect(page.locator(f"dialog#{opens}")).to_be_visible()
        found += [f"{opens}: {fault}" for theme in ("light", "dark") for fault in faults_by(page, theme)]
        picture(page, f"styleguide-{opens}")
        page.keyboard.press("Escape")
        expect(page.locator(f"dialog#{opens}")).to_be_hidden()
    assert not found, "\n".join(found)
