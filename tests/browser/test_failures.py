"""What fails on an open page: said once, kept under the bell, tried again; and what is copied or chosen in many."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from engine import ContainerSpec, Engine
from tests.browser.conftest import Console, picture, sign_up

pytestmark = [pytest.mark.browser, pytest.mark.one_console]


def test_a_failure_is_said_once_and_kept_under_the_bell(
    page: Page, console: Console, elsewhere: Engine, errors: list[str]
) -> None:
    elsewhere.create(ContainerSpec(image="wharfie/starter", name="broken", command=("/no/such/program",)))
    sign_up(page, console)
    page.goto(f"{console.address}/containers/")
    toast = page.locator("#toasts .toast.error")
    for times in (1, 2):
        with page.expect_response(re.compile("/start/")):
            page.get_by_role("button", name="Start broken").click()
        expect(toast).to_have_count(1)
        expect(toast).to_contain_text("\N{MULTIPLICATION SIGN}2" if times == 2 else "/no/such/program")
    picture(page, "failures-toast")
    toast.get_by_role("button", name="Close").click()
    expect(toast).to_have_count(0)

    page.reload()
    bell = page.locator("[popovertarget=bell]")
    expect(bell).to_have_accessible_description("Failures in this tab: 1")
    bell.click()
    kept = page.locator("[data-failures] li")
    expect(kept).to_have_count(1)
    expect(kept).to_contain_text("/no/such/program")
    expect(kept).to_contain_text("\N{MULTIPLICATION SIGN}2")
    picture(page, "failures-bell")
    page.get_by_role("button", name="Clear them").click()
    expect(page.locator("[data-failures]")).to_be_hidden()
    page.reload()
    expect(page.locator("[data-failures]")).to_be_hidden()
    assert errors
    errors[:] = [each for each in errors if "/start/" not in each]


def test_what_a_proxy_says_is_no_part_of_a_page_and_the_list_is_asked_for_again(
    page: Page, console: Console, elsewhere: Engine, errors: list[str]
) -> None:
    elsewhere.create(ContainerSpec(image="wharfie/starter", name="first"))
    sign_up(page, console)
    page.goto(f"{console.address}/containers/")
    expect(page.locator("[data-connection]").first).to_have_text("Live, 1 s")
    words = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"

    def away(route: Route) -> None:
        if route.request.headers.get("hx-request"):
            return route.fulfill(status=502, body=words, content_type="text/html")
        return route.continue_()

    page.route("**/containers/", away)
    elsewhere.create(ContainerSpec(image="wharfie/starter", name="second"))
    expect(page.locator("#toasts .silence")).to_contain_text("Whether it has done what you asked shows here")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_title(re.compile("^Containers"))
    page.unroute("**/containers/")
    expect(page.locator("tbody tr")).to_have_count(2, timeout=15_000)
    errors[:] = [each for each in errors if "502" not in each]


def test_nothing_moves_under_the_pointer(page: Page, console: Console, elsewhere: Engine) -> None:
    for name in ("first", "second"):
        elsewhere.create(ContainerSpec(image="wharfie/starter", name=name))
    sign_up(page, console)
    page.goto(f"{console.address}/containers/?order=cpu")
    page.evaluate(
        """() => document.addEventListener("moved", () => { window.moves = (window.moves ?? 0) + 1; }, true)"""
    )
    page.locator("tbody tr").first.hover()
    page.wait_for_timeout(6000)
    assert page.evaluate("window.moves") is None
    page.get_by_role("heading", level=1).hover()
    page.wait_for_function("() => window.moves > 0", timeout=10_000)
    page.get_by_label("Choose first").check()
    page.get_by_role("heading", level=1).hover()
    before = page.evaluate("window.moves")
    page.wait_for_timeout(6000)
    assert page.evaluate("window.moves") == before


def test_failures_are_not_left_to_whoever_signs_in_next(page: Page, console: Console) -> None:
    sign_up(page, console)
    page.evaluate("""() => document.getElementById("toasts").append(Object.assign(document.createElement("div"),
        { className: "toast error", innerHTML: '<p>mine alone</p><b data-times="1"></b>' }))""")
    expect(page.locator("[data-failures] li")).to_have_count(1)
    page.get_by_role("button", name="Account of captain").click()
    page.wait_for_load_state("networkidle")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/sign-in/"))
    assert page.evaluate("Object.keys(sessionStorage).filter((key) => key.startsWith('failures'))") == []


def test_the_head_s_menu_stays_open_while_the_head_is_fetched_again(
    page: Page, console: Console, elsewhere: Engine
) -> None:
    elsewhere.create(ContainerSpec(image="wharfie/starter", name="web", command=("true",)))
    sign_up(page, console)
    page.goto(f"{console.address}/containers/web/")
    page.get_by_role("button", name="More acts for web").click()
    menu = page.locator("#more")
    expect(menu).to_be_visible()
    with page.expect_response(re.compile("/head/")):
        page.evaluate("htmx.trigger(document.body, 'wharfie:changed')")
    expect(menu.get_by_role("link", name="Export as tar")).to_be_visible()
    menu.get_by_role("link", name="Clone with data").click()
    expect(page.get_by_role("dialog", name="Clone web with its data")).to_be_visible()


def test_an_id_and_a_command_are_copied(page: Page, console: Console, elsewhere: Engine) -> None:
    words = ("sh", "-c", "echo 'a  b'")
    container = elsewhere.create(ContainerSpec(image="wharfie/starter", name="web", command=words))
    sign_up(page, console)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=console.address)
    page.goto(f"{console.address}/containers/web/")
    page.get_by_role("button", name="Copy the id").first.click()
    holds = "async (text) => await navigator.clipboard.readText() === text"
    page.wait_for_function(holds, arg=container.id)
    page.get_by_role("button", name="Copy the command").click()
    page.wait_for_function(holds, arg=page.locator("dd.copying > span").first.text_content())


def test_all_that_match_are_chosen_beyond_the_page(
    page: Page, console: Console, elsewhere: Engine, errors: list[str]
) -> None:
    for number in range(52):
        elsewhere.create(ContainerSpec(image="wharfie/starter", name=f"box-{number}"))
    sign_up(page, console)
    page.goto(f"{console.address}/containers/?q=box&density=dense")
    page.get_by_label("Choose all on this page").check()
    bulk = page.locator("#bulk")
    expect(bulk).to_contain_text("50 chosen")
    page.get_by_label("all 52 that match").check()
    expect(bulk).to_contain_text("52 chosen")
    page.get_by_label("Choose box-51").uncheck()
    expect(bulk).to_contain_text("49 chosen")
    page.get_by_label("all 52 that match").check()
    bulk.get_by_role("button", name="Remove").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("and 2 more")
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    picture(page, "list-all-that-match")
    dialog.get_by_label("Type 52 to confirm").fill("25")
    dialog.get_by_role("button", name="Remove 52 containers").click()
    expect(page.locator("#toasts")).to_contain_text("The typed number is not 52")
    expect(dialog.get_by_label("Type 52 to confirm")).to_have_value("25")  # it is corrected where it stands
    errors[:] = [each for each in errors if "/bulk/" not in each]
    dialog.get_by_label("Type 52 to confirm").fill("52")
    dialog.get_by_role("button", name="Remove 52 containers").click()
    page.wait_for_url(re.compile("/jobs/"))
    expect(page.locator("main .state.ok").first).to_be_visible(timeout=60_000)
    assert elsewhere.containers() == []
