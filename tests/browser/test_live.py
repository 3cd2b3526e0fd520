"""An open page while things change: what one types and presses stays, what is shown goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from engine import ContainerSpec, Engine, ExecSpec
from tests.browser.conftest import Console, picture, sign_up

# The buttons that turn, in a list that is just being fetched.
TURNING = """() => {
  const list = document.getElementById("list");
  list.classList.add("htmx-request");
  const turns = (it) => getComputedStyle(it, "::before").content !== "none";
  const turning = [...list.querySelectorAll(".icon, .btn")].filter(turns);
  list.classList.remove("htmx-request");
  return turning.map((it) => it.ariaLabel);
}"""

pytestmark = [pytest.mark.browser, pytest.mark.one_console]


def started(engine: Engine, name: str, script: str) -> str:
    container = engine.create(ContainerSpec(image="wharfie/starter", name=name, command=("sh", "-c", script)))
    return engine.start(container.id).id


def test_a_refresh_leaves_what_one_types_and_presses(page: Page, console: Console, elsewhere: Engine) -> None:
    stubborn = started(elsewhere, "stubborn", "trap '' TERM; while :; do sleep 1; done")
    sign_up(page, console)
    page.goto(f"{console.address}/containers/")
    expect(page.locator("tr", has_text="stubborn").locator("meter")).to_have_count(2)

    page.get_by_role("button", name="Stop stubborn").click()
    search = page.get_by_label("Find containers")
    search.fill("wharfie/st")
    elsewhere.create(ContainerSpec(image="wharfie/starter", name="arrived"))

    expect(page.get_by_role("link", name="arrived", exact=True)).to_be_visible()
    expect(page.locator("#total")).to_have_text("2")
    expect(search).to_be_focused()
    page.keyboard.type("ar")
    expect(search).to_have_value("wharfie/star")
    row = page.locator("tr", has_text="stubborn")
    expect(row).to_contain_text("Stopping")
    expect(row.get_by_role("button", name="Stop stubborn")).to_be_disabled()
    expect(page.locator(":is(button, form, a).htmx-request")).to_have_count(1)
    expect(row.locator("meter")).to_have_count(2)
    assert page.evaluate(TURNING) == ["Stop stubborn"], "while the list is fetched again"
    picture(page, "containers-stopping")

    elsewhere.kill(stubborn)
    expect(row.get_by_role("button", name="Start stubborn")).to_be_enabled()


def test_times_and_curves_go_on_and_a_log_ends(page: Page, console: Console, elsewhere: Engine) -> None:
    started(elsewhere, "clock", "echo out; printf nonl; exec sleep 1000")
    sign_up(page, console)
    page.goto(f"{console.address}/containers/clock/")
    expect(page.locator("[data-f=mem]").first).to_have_text(re.compile(r"\d"))
    expect(page.locator(".sub2")).to_contain_text(re.compile("up [4-9] seconds"), timeout=10_000)

    points = """() => document.querySelector("[data-draw=mem] path").getAttribute("d").split("L").length"""
    drawn = page.evaluate(points)
    for _ in range(6):
        with page.expect_response(lambda answer: "/head/" in answer.url):
            page.evaluate("htmx.trigger(document.body, 'wharfie:changed')")
    assert page.evaluate(points) - drawn <= 3, "a point a second, however often the page is fetched again"

    elsewhere.kill("clock")
    expect(page.locator("ol.log li").last).to_contain_text("nonl")
    expect(page.locator("[data-log-state]")).to_have_text("Ended")


def test_an_import_is_looked_at_before_its_file_is_sent(page: Page, console: Console, tmp_path: Path) -> None:
    file = tmp_path / "root.tar"
    file.write_bytes(b"no tar" * 1000)
    sign_up(page, console)
    page.goto(f"{console.address}/images/import/")
    page.get_by_label("File from this computer").set_input_files(file)
    page.get_by_label("Name", exact=True).fill("Not A Name")
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_text("is not an image name")).to_be_visible()
    picture(page, "import-refused")
    assert page.get_by_label("File from this computer").evaluate("input => input.files.length") == 1
    page.get_by_label("Name", exact=True).fill("a/name:1")
    page.get_by_role("button", name="Import").click()
    expect(page.locator("main").get_by_text("Failed", exact=True)).to_be_visible()
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("a/name:1")


def test_figures_that_grow_old_say_so_and_heal(page: Page, console: Console, elsewhere: Engine) -> None:
    started(elsewhere, "clock", "exec sleep 1000")
    held: list[bool] = []

    def between(route: WebSocketRoute) -> None:
        """Let everything through, but for figures while they are held."""

        def pass_on(message: str | bytes) -> None:
            content = json.loads(message)
            if held:
                content["frames"] = [frame for frame in content["frames"] if frame["topic"] != "stats"]
            route.send(json.dumps(content))

        route.connect_to_server().on_message(pass_on)

    page.route_web_socket(re.compile("/live/"), between)
    sign_up(page, console)
    page.goto(f"{console.address}/containers/")
    said = page.locator("header.top [data-connection]")
    expect(page.locator("tbody [data-f=mem]").first).to_have_text(re.compile(r"[0-9]"), timeout=20_000)
    expect(said).to_be_hidden()
    held.append(True)
    expect(said).to_have_text(re.compile(r"Figures of \d+:\d\d:\d\d"), timeout=10_000)
    expect(page.locator("body.stale")).to_be_visible()
    picture(page, "figures-old")
    held.clear()
    expect(said).to_be_hidden(timeout=10_000)


def test_the_overview_goes_on_by_itself(page: Page, console: Console, elsewhere: Engine) -> None:
    sign_up(page, console)
    started(elsewhere, "quiet", "exec sleep 1000")
    page.goto(f"{console.address}/")
    used = page.locator("[data-f=host-mem]")
    meter = page.locator("[data-m=host-mem]")
    expect(page.locator("[data-host]")).to_be_visible(timeout=10_000)
    page.evaluate("() => { for (const it of document.querySelectorAll('[data-f^=host-]')) it.textContent = 'before'; }")
    expect(used).to_have_text(re.compile(r"iB$"), timeout=10_000)
    expect(page.locator("[data-f=host-load]")).to_have_text(re.compile(r"\d\.\d\d"))
    assert 0 < meter.evaluate("it => it.value / it.max") < 1
    # Who becomes busy comes to the top, though nothing else happens.
    busy = "while :; do :; done"
    with elsewhere.exec("quiet", ExecSpec(("sh", "-c", f"{busy} & echo begun"), stdin=False)) as execution:
        execution.wait()
    first = page.locator(".top-users", has_text="CPU").locator("tbody tr").first
    expect(first).to_contain_text("quiet", timeout=20_000)
    expect(first.locator("[data-f=cpu]")).to_have_text(re.compile(r"0\.[1-9]|1\."), timeout=20_000)
    picture(page, "overview-live", full_page=True)
