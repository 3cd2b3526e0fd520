"""The pages of containers, as somebody works with them."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from engine import ContainerSpec, Engine, Limits
from tests.browser.conftest import Console, picture, sign_up
from tests.conftest import eventually
from tests.images import small_starter

pytestmark = [pytest.mark.browser, pytest.mark.one_console]
PHONE = {"width": 390, "height": 844}
LATE_MS = 20_000  # of changes that go on a page is told ever more seldom


@pytest.fixture
def fleet(console: Console) -> Engine:
    """Three that run and one that does not."""
    with Engine(console.config) as engine:
        small_starter(engine)
        for name in ("anchor", "buoy", "crane", "dock"):
            engine.create(ContainerSpec(image="wharfie/starter", name=name, command=("sleep", "1000")))
        for name in ("anchor", "buoy", "crane"):
            engine.start(name)
        yield engine  # type: ignore[misc]


def test_many_are_chosen_acted_upon_and_stay_chosen(page: Page, console: Console, fleet: Engine) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/")
    bulk = page.locator("#bulk")
    expect(bulk).to_be_hidden()
    expect(page.locator("tbody [data-f=mem]").first).to_have_text(re.compile(r"[0-9]"), timeout=20_000)
    page.get_by_label("Choose anchor").check()
    page.get_by_label("Choose dock").check()
    expect(bulk).to_contain_text("2 chosen")
    picture(page, "list-chosen")
    bulk.get_by_role("button", name="Pause", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 failed, 1 done")
    expect(dialog).to_contain_text("Start it first")
    picture(page, "list-results")
    dialog.get_by_role("link", name="Close").click()
    expect(page.locator("tr", has_text="anchor")).to_contain_text("Paused")
    expect(bulk).to_contain_text("2 chosen")
    page.get_by_label("Choose dock").uncheck()
    bulk.get_by_role("button", name="Unpause", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("Unpaused 1 container.")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_label("More acts for buoy").click()
    expect(page.get_by_role("dialog")).to_contain_text("buoy")
    picture(page, "list-menu")
    page.get_by_role("dialog").get_by_role("link", name="Close this menu").click()
    page.get_by_label("Sort by").select_option("cpu")
    page.wait_for_url(re.compile("order=cpu"))
    page.emulate_media(color_scheme="dark")
    page.get_by_label("Dense rows").click()
    expect(page.locator("#list.dense")).to_be_visible()
    picture(page, "list-dense-night")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    picture(page, "list-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_typing_narrows_the_list_down_and_a_heading_sorts_it(page: Page, console: Console, fleet: Engine) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/?order=name")
    names, field = page.locator("tbody .two > a"), page.get_by_label("Find containers")
    expect(names).to_have_text(["anchor", "buoy", "crane", "dock"])
    field.press_sequentially("oc", delay=30)
    expect(names).to_have_text(["dock"])
    expect(field).to_be_focused()
    assert "order=name" in page.url
    assert "q=oc" in page.url
    expect(page.locator("#chip-running small")).to_have_text("3")  # of all: what else there is to see
    field.fill("nobody")
    expect(page.get_by_text("None match")).to_be_visible()
    field.fill("an")  # back from no table; what is chosen as all that match is what was typed
    expect(names).to_have_text(["anchor", "crane"])
    page.get_by_role("link", name="Name, image").click()
    expect(names).to_have_text(["crane", "anchor"])
    expect(field).to_have_value("an")
    expect(page.locator("#bulk input[name=q]")).to_have_value("an")
    expect(page.locator("th", has_text="Name, image")).to_have_attribute("aria-sort", "descending")
    page.get_by_label("Find containers").fill("")
    expect(names).to_have_text(["dock", "crane", "buoy", "anchor"])
    expect(page.locator("#bulk input[name=q]")).to_have_value("")


def test_only_rows_that_have_changed_are_made_anew(page: Page, console: Console, fleet: Engine) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/?order=name")
    rows = page.locator("tbody tr")
    expect(rows.first.locator("[data-f=mem]")).to_have_text(re.compile(r"[0-9]"), timeout=20_000)
    mark = "() => { for (const row of document.querySelectorAll('tbody tr')) row.mark = true }"
    kept = """() => [...document.querySelectorAll("tbody tr")].filter(row => row.mark)
      .map(row => row.querySelector("a").text)"""
    page.evaluate(mark)
    page.get_by_label("Choose buoy").focus()
    fleet.pause("anchor")
    expect(rows.filter(has_text="anchor")).to_contain_text("Paused", timeout=LATE_MS)
    assert page.evaluate(kept) == ["buoy", "crane", "dock"]
    expect(page.get_by_label("Choose buoy")).to_be_focused()

    # Others come, go and change places; who has moved keeps the focus, and acts go on to work.
    page.evaluate(mark)
    page.get_by_label("Choose crane").focus()
    fleet.rename("buoy", "zeal")
    fleet.remove("dock")
    fleet.create(ContainerSpec(image="wharfie/starter", name="eel", command=("sleep", "1000")))
    names = page.locator("tbody td.two > a")
    expect(names).to_have_text(["anchor", "crane", "eel", "zeal"], timeout=LATE_MS)
    assert page.evaluate(kept) == ["anchor", "crane"]
    expect(page.get_by_label("Choose crane")).to_be_focused()
    page.get_by_label("Start eel").click()
    expect(rows.filter(has_text="eel")).to_contain_text("Running", timeout=LATE_MS)
    expect(rows.filter(has_text="eel").locator("[data-f=mem]")).to_have_text(re.compile(r"[0-9]"), timeout=LATE_MS)

    # A table that is gone, and one that comes.
    for name in ("anchor", "crane", "eel", "zeal"):
        fleet.remove(name, force=True)
    expect(page.get_by_text("No containers yet")).to_be_visible(timeout=LATE_MS)
    fleet.create(ContainerSpec(image="wharfie/starter", name="fender", command=("sleep", "1000")))
    expect(names).to_have_text(["fender"], timeout=LATE_MS)


def test_the_form_shows_a_command_and_a_compose_file_while_one_types(
    page: Page, console: Console, fleet: Engine
) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/-/create/?like=anchor")
    expect(page.get_by_label("Command", exact=True)).to_have_value("sleep 1000")
    page.get_by_text("The same as a command").click()
    page.get_by_text("Variables", exact=True).first.click()
    page.get_by_label("Variables", exact=True).fill("A=it's\nB=2")
    shown = page.locator("#equivalents")
    expect(shown).to_contain_text("--env 'A=it'\"'\"'s'")
    expect(shown).to_contain_text('"it\'s"')
    picture(page, "create-equivalents")
    page.get_by_text("Isolation", exact=True).click()
    page.emulate_media(color_scheme="dark")
    page.locator("#section-isolation").scroll_into_view_if_needed()
    picture(page, "create-isolation-night")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    picture(page, "create-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_charts_go_on_and_say_their_figures(page: Page, console: Console, fleet: Engine) -> None:
    fleet.update("anchor", Limits(memory_bytes=8 * 2**20, pids=4))
    sign_up(page, console)
    page.goto(f"{console.address}/containers/anchor/metrics/")
    memory = page.locator("figure", has=page.get_by_text("Memory", exact=True))
    curve, said = memory.locator("path.area"), memory.locator("output")
    expect(curve).to_have_attribute("d", re.compile("L.*L.*L"), timeout=20_000)
    before = curve.get_attribute("d")
    expect(curve).not_to_have_attribute("d", before or "", timeout=10_000)
    expect(memory).to_contain_text("limit 8.0 MiB")
    expect(said).to_contain_text(re.compile(r"used [0-9.]+ KiB peak [0-9.]+ KiB"))

    # A limit far above what is used would press the curve flat: it is said, and drawn where it is near.
    expect(memory.locator("path.limit")).to_have_count(0)
    processes = page.locator("figure", has=page.get_by_text("Processes", exact=True))
    expect(processes.locator("path.limit")).to_have_count(1)

    # The arrow keys move along; where somebody looks the cursor stays while time goes on.
    cursor = page.get_by_label("Moment in Memory")
    cursor.press("ArrowLeft")
    stays = cursor.get_attribute("aria-valuetext") or ""
    assert re.search(r"\d\d:\d\d:\d\d, used [0-9.]+ KiB", stays)
    drawn = curve.get_attribute("d")
    expect(curve).not_to_have_attribute("d", drawn or "", timeout=10_000)
    assert cursor.get_attribute("aria-valuetext") == stays
    cursor.press("End")
    expect(cursor).not_to_have_attribute("aria-valuetext", stays)

    # For who cannot see it.
    memory.get_by_text("Figures").click()
    expect(memory.locator("tbody tr").nth(2)).to_contain_text(re.compile(r"\d:\d\d:\d\d.*KiB"))
    memory.get_by_text("Figures").click()
    page.get_by_label("Shown").select_option("300")
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        picture(page, f"metrics-{theme}", full_page=True)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    picture(page, "metrics-phone", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    # One that has not run has no curves, and gets them when it runs.
    fleet.create(ContainerSpec(image="wharfie/starter", name="asleep", command=("sleep", "1000")))
    page.goto(f"{console.address}/containers/asleep/metrics/")
    nothing = page.locator("main").get_by_text("Nothing was recorded in the last hour.").first
    expect(nothing).to_be_visible()
    expect(memory).to_be_hidden()
    fleet.start("asleep")
    expect(memory).to_be_visible(timeout=20_000)
    expect(nothing).to_be_hidden()


def test_a_change_can_be_taken_back(page: Page, console: Console, fleet: Engine) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/anchor/config/")
    page.get_by_label("Memory", exact=True).fill("64m")
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.get_by_text("Changed anchor.")).to_be_visible()
    picture(page, "config")
    page.get_by_role("link", name="Restore version 1").click()
    expect(page.get_by_role("dialog")).to_contain_text("64m")
    page.get_by_role("button", name="Restore version 1").click()
    expect(page.get_by_text("as in version 1 again")).to_be_visible()
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    picture(page, "config-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    fleet.kill("anchor")
    page.goto(f"{console.address}/containers/anchor/")
    expect(page.get_by_text("Somebody at the command line asked for it")).to_be_visible(timeout=10_000)
    picture(page, "ending-phone")


def test_a_form_that_comes_back_stands_where_it_was(page: Page, console: Console, fleet: Engine) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/-/create/")
    for section in ("log", "network"):
        page.locator(f"#section-{section} > summary").click()
    expect(page.locator("[name=network_of]")).to_be_hidden()
    page.locator("#section-network [value=container]").check()
    page.locator("[name=network_of]").fill("nobody")
    page.get_by_role("button", name="Create and start").click()
    expect(page.locator("[name=network_of]")).to_be_focused()
    expect(page.locator("#section-network")).to_contain_text("There is no container 'nobody'")
    expect(page.locator("#section-log [name=labels]")).to_be_visible()
    expect(page.locator("#section-env [name=env]")).to_be_hidden()


def test_a_log_is_searched_and_taken_away_as_it_is_shown(page: Page, console: Console, fleet: Engine) -> None:
    container = fleet.create(
        ContainerSpec("wharfie/starter", command=("sh", "-c", "for i in 1 2 3; do echo line $i; done"))
    )
    fleet.start(container.id)
    fleet.wait(container.id, timeout_s=10)
    sign_up(page, console)
    page.goto(f"{console.address}/containers/{container.id}/logs/?q=line+[12]&regex=1")
    expect(page.locator("[data-log-found]")).to_have_text("lines found: 2")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download these lines").click()
    assert re.fullmatch(r"(20\S+Z?\S* line [12]\n){2}", download.value.path().read_text())
    page.get_by_label("Show times").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download these lines").click()
    assert download.value.path().read_text() == "line 1\nline 2\n"
    page.get_by_label("Show times").click()
    page.goto(f"{console.address}/containers/{container.id}/logs/?q=(&regex=1")
    expect(page.get_by_role("alert")).to_contain_text("missing ) in “(”.")
    expect(page.locator("[data-log] li")).to_have_count(3)


def test_dates_are_the_readers_own_and_are_sent_as_utc(
    page: Page, console: Console, fleet: Engine, browser: Browser
) -> None:
    sign_up(page, console)
    state = page.context.storage_state()
    with closing(browser.new_context(timezone_id="Asia/Shanghai", storage_state=state)) as context:  # type: ignore[arg-type]
        reader = context.new_page()
        reader.goto(f"{console.address}/events/?from=2026-01-01T20:00")
        expect(reader.locator("#f-from")).to_have_value("2026-01-02T04:00")
        expect(reader.locator("form[data-utc-times]")).not_to_contain_text("UTC")
        reader.locator("#f-until").fill("2030-01-02T03:00")
        reader.get_by_role("button", name="Find", exact=True).click()
        reader.wait_for_url(re.compile("from=2026-01-01T20%3A00&until=2030-01-01T19%3A00"))
        reader.goto(f"{console.address}/users/")
        signed_in = reader.locator("time[data-local]").first
        shown = datetime.strptime(signed_in.inner_text(), "%Y-%m-%d %H:%M")
        told = datetime.fromisoformat(signed_in.get_attribute("datetime") or "")
        assert shown == (told.astimezone(UTC) + timedelta(hours=8)).replace(second=0, microsecond=0, tzinfo=None)
        reader.goto(f"{console.address}/containers/anchor/")

        def begins_with() -> int:
            reader.reload()
            return len(json.loads(reader.locator('[data-draw="mem"]').get_attribute("data-past") or "[]"))

        assert eventually(lambda: begins_with() >= 2)
