"""A network that dies and says nothing: the page says it, and heals by itself, without losing or doubling anything."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from engine import ContainerSpec, Engine
from tests.browser.conftest import Console, picture, sign_up
from tests.browser.test_terminal import shows
from tests.browser.wire import Wire

pytestmark = pytest.mark.browser
SILENT_MS = 30_000  # the page waits fifteen seconds for a word
HEAL_MS = 90_000  # and gives each connection that it had kept five more


@pytest.fixture
def wire(console: Console) -> Iterator[Wire]:
    port = urlsplit(console.address).port
    assert port
    with Wire(port) as wire:
        yield wire


@pytest.fixture
def far(console: Console, wire: Wire) -> Console:
    """The console at the other end of the wire; to be asked for before the page, which is then gone before the wire."""
    address = f"http://127.0.0.1:{wire.port}"
    return console._replace(address=address, setup_link=console.setup_link.replace(console.address, address))


def started(engine: Engine, name: str, script: str) -> None:
    spec = ContainerSpec(image="wharfie/starter", name=name, command=("sh", "-c", script))
    engine.start(engine.create(spec).id)


def test_a_log_and_a_terminal_show_that_they_are_lost_and_come_back_with_nothing_lost_or_doubled(
    far: Console, wire: Wire, page: Page, elsewhere: Engine, errors: list[str]
) -> None:
    started(elsewhere, "steady", "i=0; while :; do i=$((i+1)); echo number $i; sleep 0.5; done")
    started(elsewhere, "sea", "sleep 1000")
    sign_up(page, far)
    page.goto(f"{far.address}/containers/steady/logs/")
    log, following = page.locator("ol.log"), page.locator("[data-log-state]")
    expect(following).to_have_text("Following")
    desk = page.context.new_page()
    desk.goto(f"{far.address}/containers/sea/terminals/")
    desk.get_by_role("button", name="Open a terminal").click()
    connected = desk.locator("[data-terminal-state]")
    expect(connected).to_have_text("Connected")
    desk.keyboard.type("x=6; echo be''fore\n")
    shows(desk, "before")

    wire.cut()
    expect(following).to_have_text("Reconnecting", timeout=SILENT_MS)
    expect(connected).to_have_text("Connection lost, trying again; keys are not sent", timeout=SILENT_MS)
    expect(page.locator("body.stale")).to_have_count(1)
    picture(page, "log-reconnecting")
    picture(desk, "terminal-lost")
    before = log.locator("li").count()

    wire.mend()
    expect(following).to_have_text("Following", timeout=HEAL_MS)
    expect(connected).to_have_text("Connected", timeout=HEAL_MS)
    expect(page.locator("body.stale")).to_have_count(0)
    expect(log.locator("li").nth(before + 10)).to_be_attached(timeout=20_000)
    numbers = [int(text.split()[1]) for text in log.locator("li span").all_text_contents()]
    assert numbers == list(range(1, len(numbers) + 1))
    shows(desk, "before")
    desk.keyboard.type("echo again $x\n")
    shows(desk, "again 6")
    assert len(elsewhere.terminals("sea")) == 1
    cut_off(errors)


def cut_off(errors: list[str]) -> None:
    """What the browser says of requests and sockets that the dead network swallowed is no fault of the page."""
    errors[:] = [error for error in errors if "/live/" not in error and "/terminals/" not in error]
