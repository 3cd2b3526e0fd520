"""The log's tab in a real browser: a log that runs, one that is long, and what its lines hold."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from engine import ContainerSpec, Engine, ExecSpec
from tests.browser.conftest import Console, picture, sign_up

pytestmark = pytest.mark.browser

VARIED = r"""
i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "early $i"; done
printf '\033[32mINFO\033[0m ready, \033[1;31mno\033[0m error\n'
echo '{"level":"warn","msg":"disk is filling","used":0.93,"mount":"/data","time":"2030-01-01T00:00:00Z"}'
echo 'Traceback: <script>alert(1)</script>' >&2
printf '\033]0;harm\007\033]52;c;aGFybQ==\007unharmed\n'
"""
COUNT = "list => list.querySelectorAll('li').length"


def test_the_pane_of_the_overview_goes_on_too(page: Page, console: Console, elsewhere: Engine) -> None:
    """Whoever reads above while much comes is led to the end by the button, and a line's link to the log's tab."""
    started(elsewhere, "talker", TWICE)
    sign_up(page, console)
    page.goto(f"{console.address}/containers/talker/")
    log = page.locator("ol.log")
    expect(log).to_contain_text("line 2000")
    log.evaluate("list => { list.scrollTop = 0; }")
    expect(log).to_contain_text("line 1800")
    with elsewhere.exec("talker", ExecSpec(("touch", "/go"))) as going:
        going.output(timeout_s=20)
    button = page.locator("[data-log-follow]")
    expect(button).to_be_visible()
    button.click()
    expect(log).to_contain_text("later 3000")
    expect(log).to_be_visible()
    log.locator("li", has_text="later 2990").locator("a").click()
    expect(page).to_have_url(re.compile("/logs/"))
    expect(log.locator("li.chosen")).to_contain_text("later 2990")


TWICE = """
i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done
until [ -e /go ]; do sleep 0.05; done
i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo later $i; done
exec sleep 1000
"""


def started(engine: Engine, name: str, script: str) -> str:
    container = engine.create(ContainerSpec(image="wharfie/starter", name=name, command=("sh", "-c", script)))
    return engine.start(container.id).id


def test_a_log_is_read_searched_and_shared(page: Page, console: Console, elsewhere: Engine) -> None:
    started(elsewhere, "talker", VARIED)
    elsewhere.wait("talker", timeout_s=30)
    sign_up(page, console)
    page.goto(f"{console.address}/containers/talker/")
    page.get_by_role("link", name="All of the log").click()
    log = page.locator("ol.log")
    expect(log).to_contain_text("unharmed")
    expect(page.locator("[data-log-state]")).to_have_text("Ended")
    expect(log.locator(".f1.bold")).to_have_text("no")
    expect(log.locator(".level.warn")).to_have_text("warn")
    expect(log).to_contain_text("disk is filling used=0.93 mount=/data")
    expect(log.locator("li.err")).to_contain_text("<script>alert(1)</script>")
    picture(page, "log")
    page.get_by_role("button", name="Show JSON lines as fields").click()
    expect(log).to_contain_text('{"level":"warn"')
    page.get_by_role("button", name="Show times").click()
    expect(log.locator("time").last).to_be_hidden()
    page.get_by_role("button", name="Show times").click()
    page.get_by_role("button", name="Show JSON lines as fields").click()

    # Back to the very first line, without ever keeping all of it.
    for _ in range(60):
        log.evaluate("list => { list.scrollTop = 0; }")
        page.wait_for_timeout(50)
        assert log.evaluate(COUNT) <= 1400
        if log.get_by_text("early 1", exact=True).count():
            break
    expect(log.get_by_text("early 1", exact=True)).to_be_visible()
    page.get_by_role("button", name="Follow").click()
    expect(log).to_contain_text("unharmed")

    page.get_by_label("Find in the log").fill("^early 12[0-3]$")
    page.get_by_label("Regular expression").check()
    page.get_by_role("button", name="Find", exact=True).click()
    expect(log.locator("li")).to_have_count(4)
    expect(log.locator(".hit").first).to_have_text("early 120")
    picture(page, "log-search")
    log.locator("li", has_text="early 121").locator("a").click()
    expect(page).to_have_url(re.compile(r"\?line=[\d.]+#[\d.]+$"))
    expect(log.locator("li.chosen")).to_contain_text("early 121")
    expect(log.locator("li.chosen")).to_be_in_viewport()
    expect(log.locator("li", has_text="early 122")).to_be_in_viewport()
    picture(page, "log-line")
    page.get_by_role("link", name="Clear").click()

    page.get_by_label("Find in the log").fill("(")
    page.get_by_label("Regular expression").check()
    page.get_by_role("button", name="Find", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Not a regular expression")

    with page.expect_download() as download:
        page.goto(f"{console.address}/containers/talker/logs/?stream=stderr")
        page.get_by_role("link", name="Download these lines").click()
    assert re.fullmatch(r"\S+T\S+ Traceback: <script>alert\(1\)</script>\n", download.value.path().read_text())
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{console.address}/containers/talker/logs/")
    expect(log).to_contain_text("unharmed")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture(page, "log-phone")
    expect(page.get_by_label("Regular expression")).to_be_hidden()
    page.get_by_text("More filters").click()
    expect(page.get_by_label("Regular expression")).to_be_visible()
    picture(page, "log-phone-filters")
