"""The keyboard, the palette and the menu of the frame, as somebody without a mouse meets them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from engine import ContainerSpec, Engine
from tests.browser.conftest import Console, picture, sign_up
from tests.images import small_starter

pytestmark = [pytest.mark.browser, pytest.mark.one_console]


def begin(page: Page, console: Console) -> None:
    """Sign up, and wait for the scripts that hear the keys."""
    sign_up(page, console)
    page.wait_for_load_state()


@pytest.fixture
def two(console: Console) -> Iterator[Engine]:
    """A console with the containers `api`, which is the newer one, and `web`; neither runs."""
    with Engine(console.config) as engine:
        small_starter(engine)
        for name in ("web", "api"):
            engine.create(ContainerSpec(image="wharfie/starter", name=name, command=("sleep", "1000")))
        yield engine
        for container in engine.containers():
            engine.remove(container.id, force=True)


def test_keys_go_to_pages_and_through_rows(page: Page, console: Console, two: Engine) -> None:
    begin(page, console)
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_url(f"{console.address}/containers/")
    page.keyboard.press("j")
    expect(page.locator("tr:focus")).to_contain_text("api")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_label("Choose web")).to_be_checked()
    page.keyboard.press("k")
    expect(page.locator("tr:focus")).to_contain_text("api")
    picture(page, "keys-row")

    page.keyboard.press("/")
    expect(page.get_by_label("Find containers")).to_be_focused()
    page.keyboard.type("gi?")  # in a field keys are letters
    expect(page.get_by_label("Find containers")).to_have_value("gi?")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.goto(f"{console.address}/containers/")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{console.address}/containers/api/")
    page.keyboard.press("t")
    page.wait_for_url(re.compile(r"/containers/\w+/terminals/$"))

    page.goto(f"{console.address}/containers/")
    page.keyboard.press("j")
    page.keyboard.press("l")
    page.wait_for_url(re.compile(r"/containers/\w+/logs/$"))
    expect(page.get_by_role("link", name="Log", exact=True)).to_have_attribute("aria-current", "page")
    page.goto(f"{console.address}/containers/api/")
    page.keyboard.press("l")
    page.wait_for_url(re.compile(r"/containers/\w+/logs/$"))

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.get_by_label("Single keys are on").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("?")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Search or run a command")).to_be_visible()
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()


def test_the_palette_finds_a_container_and_starts_it(page: Page, console: Console, two: Engine) -> None:
    begin(page, console)
    page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog", name="Search or run a command")
    expect(palette.get_by_role("link", name="Volumes")).to_be_visible()  # before a word all pages
    page.keyboard.type("start web")
    expect(palette.get_by_role("button", name="Start web")).to_be_visible()
    expect(palette.get_by_role("link", name="Volumes")).to_have_count(0)
    picture(page, "palette")
    page.keyboard.press("Enter")
    expect(palette).to_be_hidden()
    expect(page.locator(".verdict")).to_contain_text("1 container runs")  # told by the engine, not by a reload
    assert two.inspect("web").state == "running"

    page.keyboard.press("Control+k")
    page.keyboard.type("something that nobody meant")
    page.keyboard.press("Escape")  # once: by itself a field for searches only empties itself
    expect(palette).to_be_hidden()
    page.keyboard.press("Control+k")
    page.keyboard.press("Control+a")
    page.keyboard.type("web")
    expect(palette.get_by_role("link", name="web Running")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/containers/"))
    expect(page.get_by_role("heading", name="web", level=1)).to_be_visible()


def test_enter_waits_for_the_results_of_what_stands_there(page: Page, console: Console, two: Engine) -> None:
    begin(page, console)
    page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog", name="Search or run a command")
    page.keyboard.type("start ap")
    expect(palette.get_by_role("button", name="Start api")).to_be_visible()
    page.keyboard.press("Control+a")
    page.keyboard.type("start web")  # results of the words before still stand there
    page.keyboard.press("Enter")
    expect(palette).to_be_hidden()
    expect(page.locator(".verdict")).to_contain_text("1 container runs")
    assert (two.inspect("api").state, two.inspect("web").state) == ("created", "running")

    page.keyboard.press("Control+k")
    page.keyboard.press("Control+a")
    page.keyboard.type("log api")
    page.keyboard.press("ArrowDown")
    expect(palette.get_by_role("link", name="Log of api")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/containers/\w+/logs/$"))
    expect(page.get_by_role("heading", name="api", level=1)).to_be_visible()


def test_the_menu_switches_theme_and_language_and_leaves(page: Page, console: Console) -> None:
    sign_up(page, console)
    page.get_by_role("button", name="Account of captain").click()
    picture(page, "menu")
    page.get_by_role("button", name="Night").click()
    expect(page.locator("html[data-theme=dark]")).to_have_count(1)
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("link", name="容器", exact=True)).to_be_visible()
    expect(page.locator("html[data-theme=dark]")).to_have_count(1)
    page.get_by_role("button", name="captain 的账户").click()
    page.get_by_role("button", name="自动").click()
    expect(page.locator("html[data-theme]")).to_have_count(0)
    page.wait_for_load_state("networkidle")  # what is still asked when the session ends is refused
    page.get_by_role("button", name="退出登录").click()
    page.wait_for_url(re.compile("/sign-in/"))
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
