"""What stands on an open page and is no longer so: it is made anew, or asked for again, by itself."""

from __future__ import annotations

import io
import re

import pytest
from playwright.sync_api import Page, expect

from engine import ContainerSpec, Engine, HealthCheck
from tests.browser.conftest import SOCKETS, Console, sign_up

pytestmark = [pytest.mark.browser, pytest.mark.one_console]
LIVE = "Live, 1 s"


def live(page: Page) -> None:
    expect(page.locator("[data-connection]").first).to_have_text(LIVE, timeout=30_000)


def test_the_terminals_tab_offers_one_once_the_container_runs(page: Page, console: Console, elsewhere: Engine) -> None:
    made = elsewhere.create(ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000")))
    sign_up(page, console)
    page.goto(f"{console.address}/containers/web/terminals/")
    live(page)
    expect(page.get_by_text("The container does not run.")).to_be_visible()
    elsewhere.start(made.id)
    expect(page.get_by_role("button", name="Open a terminal")).to_be_visible()
    expect(page.get_by_text("The container does not run.")).to_have_count(0)


def test_the_health_tab_goes_with_the_health(page: Page, console: Console, elsewhere: Engine) -> None:
    check = HealthCheck(("sh", "-c", "[ -e /well ]"), interval_s=0.2, retries=1)
    spec = ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000"), health=check)
    elsewhere.start(elsewhere.create(spec).id)
    sign_up(page, console)
    page.goto(f"{console.address}/containers/web/health/")
    live(page)
    status = page.locator("#health .head .state")
    expect(status).to_have_text("Unhealthy", timeout=15_000)
    elsewhere.browse.upload("web", "/well", io.BytesIO(b"x"), 1)
    expect(status).to_have_text("Healthy", timeout=15_000)


def test_lines_that_did_not_come_are_asked_for_again(
    page: Page, console: Console, elsewhere: Engine, errors: list[str]
) -> None:
    script = "i=0; while [ $i -lt 900 ]; do i=$((i+1)); echo early $i; done"
    made = elsewhere.create(ContainerSpec(image="wharfie/starter", name="talker", command=("sh", "-c", script)))
    elsewhere.start(made.id)
    elsewhere.wait("talker", timeout_s=30)
    sign_up(page, console)
    page.goto(f"{console.address}/containers/talker/logs/")
    state = page.locator("[data-log-state]")
    expect(state).to_have_text("Ended")
    page.route("**/logs/lines/**", lambda route: route.abort())
    page.locator("ol.log").evaluate("list => { list.scrollTop = 0; }")
    expect(state).to_have_text("Some lines did not come; they are asked for again")
    page.unroute("**/logs/lines/**")
    expect(page.locator("ol.log")).to_contain_text("early 700", timeout=15_000)
    errors[:] = [each for each in errors if "ERR_FAILED" not in each]


def test_a_page_whose_tokens_are_of_before_a_sign_in_elsewhere_comes_anew(
    page: Page, console: Console, elsewhere: Engine, errors: list[str]
) -> None:
    page.add_init_script(SOCKETS)
    sign_up(page, console)
    page.goto(f"{console.address}/containers/")
    live(page)
    page.evaluate("document.querySelector('meta[name=csrf]').content = 'x'.repeat(64)")
    page.evaluate("window.isOld = true")
    page.wait_for_timeout(10_500)  # a younger one is refused for another reason
    page.evaluate("sockets.forEach((each) => each.close())")
    page.wait_for_function("() => !window.isOld", timeout=20_000)
    live(page)
    errors[:] = [each for each in errors if "/live/ticket/" not in each]


def test_a_session_exchanged_elsewhere_costs_the_page_nothing(page: Page, console: Console, elsewhere: Engine) -> None:
    """Its socket is closed; whoever asks for the next one's ticket is signed in still."""
    page.add_init_script(SOCKETS)
    sign_up(page, console)
    page.goto(f"{console.address}/containers/-/create/")
    live(page)
    page.get_by_label("Name", exact=True).fill("half filled in")
    page.evaluate("window.isOld = true")
    with page.expect_response(re.compile("/live/ticket/")) as answered:
        page.evaluate("sockets[0].onclose({ code: 4401 })")  # as the server closes that of a session that ended
    assert answered.value.ok
    page.wait_for_function("() => sockets.length === 2")
    live(page)
    assert page.evaluate("window.isOld")
    expect(page.get_by_label("Name", exact=True)).to_have_value("half filled in")
