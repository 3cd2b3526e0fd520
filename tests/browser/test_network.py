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


def test_a_log_goes_on_without_losing_or_doubling_a_line(
    far: Console, wire: Wire, page: Page, elsewhere: Engine, errors: list[str]
) -> None:
    started(elsewhere, "steady", "i=0; while :; do i=$((i+1)); echo number $i; sleep 0.5; done")
    sign_up(page, far)
    page.goto(f"{far.address}/containers/steady/logs/")
    log, state = page.locator("ol.log"), page.locator("[data-log-state]")
    expect(state).to_have_text("Following")
    wire.cut()
    expect(state).to_have_text("Reconnecting", timeout=SILENT_MS)
    expect(page.locator("body.stale")).to_have_count(1)
    picture(page, "log-reconnecting")
    before = log.locator("li").count()
    wire.mend()
    expect(state).to_have_text("Following", timeout=HEAL_MS)
    expect(page.locator("body.stale")).to_have_count(0)
    expect(log.locator("li").nth(before + 10)).to_be_attached(timeout=20_000)
    numbers = [int(text.split()[1]) for text in log.locator("li span").all_text_contents()]
    assert numbers == list(range(1, len(numbers) + 1))
    cut_off(errors)


def test_a_terminal_shows_that_it_is_lost_and_comes_back(
    far: Console, wire: Wire, page: Page, elsewhere: Engine, errors: list[str]
) -> None:
    started(elsewhere, "sea", "sleep 1000")
    sign_up(page, far)
    page.goto(f"{far.address}/containers/sea/terminals/")
    page.get_by_role("button", name="Open a terminal").click()
    state = page.locator("[data-terminal-state]")
    expect(state).to_have_text("Connected")
    page.keyboard.type("x=6; echo be''fore\n")
    shows(page, "before")
    wire.cut()
    expect(state).to_have_text("Connection lost, trying again", timeout=SILENT_MS)
    picture(page, "terminal-lost")
    wire.mend()
    expect(state).to_have_text("Connected", timeout=HEAL_MS)
    shows(page, "before")
    page.keyboard.type("echo again $x\n")
    shows(page, "again 6")
    assert len(elsewhere.terminals("sea")) == 1
    cut_off(errors)


def cut_off(errors: list[str]) -> None:
    """What the browser says of requests and sockets that the dead network swallowed is no fault of the page."""
    errors[:] = [error for error in errors if "/live/" not in error and "/terminals/" not in error]
