"""A console as `make run` serves it, and a real browser."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, CDPSession, ConsoleMessage, Page, expect, sync_playwright

from engine import Engine
from engine.config import Config
from tests import leaks
from tests.conftest import empty, new_config
from tests.images import small_starter

TOP = Path(__file__).resolve().parents[2]
PASSWORD = "a long and quiet harbour"
CHROMIUM = "/usr/bin/chromium-headless-shell"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What the page has open, so that a test can close it: for `add_init_script`.
SOCKETS = """
window.sockets = [];
const Plain = WebSocket;
window.WebSocket = class extends Plain { constructor(...of) { super(...of); sockets.push(this); } };
"""

_signed_up: dict[int, list[Any]] = {}  # by the pid of their console


class Console(NamedTuple):
    """A served console."""

    address: str
    setup_link: str
    config: Config
    pid: int


@contextmanager
def served(config: Config) -> Iterator[Console]:
    """`manage.py serve` on a free port; ends as Ctrl-C ends it."""
    environment = os.environ | {
        "WHARFIE_ROOT": str(config.root),
        "WHARFIE_RUN": str(config.run),
        "WHARFIE_LISTEN": "127.0.0.1:0",
    }
    with subprocess.Popen(
        [sys.executable, "manage.py", "serve"], cwd=TOP, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = ""
            while not (link := re.search(r"(http://[^/\s]+)/setup/\S+", said)):
                line = process.stdout.readline()
                assert line, f"the console ended: {said}"
                said += line
            yield Console(link[1], link[0], config, process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
    assert not leaks.host().get("process", set()) & {str(process.pid)}


@pytest.fixture(scope="module")
def modules_console() -> Iterator[Console]:
    """One for all tests of a module that share it; see `sign_up`."""
    with new_config() as config, served(config) as console:
        yield console


@pytest.fixture
def console(request: pytest.FixtureRequest) -> Iterator[Console]:
    """A console of the test's own, or that of its module, which has nothing in it; only who has signed up is kept."""
    if not request.node.get_closest_marker("one_console"):
        with served(request.getfixturevalue("config")) as console:
            yield console
        return
    console = request.getfixturevalue("modules_console")
    yield console
    with Engine(console.config) as engine:
        empty(engine)


@pytest.fixture
def local(console: Console) -> Console:
    """The console by a host name: browsers know passkeys for nothing else."""
    here = console.address.replace("127.0.0.1", "localhost")
    return console._replace(address=here, setup_link=console.setup_link.replace(console.address, here))


@pytest.fixture
def elsewhere(console: Console) -> Iterator[Engine]:
    """Somebody at a command line of the same instance."""
    with Engine(console.config) as engine:
        small_starter(engine)
        yield engine
        for container in engine.containers():
            engine.remove(container.id, force=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium of the distribution.

    No longer than a module: Playwright keeps an event loop running, beside which no asynchronous test can run.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def errors() -> list[str]:
    """The errors that `page` has logged so far; a test takes out what it has brought about."""
    return []


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Browser, console: Console, errors: list[str]) -> Iterator[Page]:
    """A page that fails the test when it logs an error: a script's, a lost file's or a refusal by the CSP.

    Uses the console, and what somebody made in it elsewhere, only to be closed before they go.
    """
    if "elsewhere" in request.fixturenames:
        request.getfixturevalue("elsewhere")
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()

    def hear(message: ConsoleMessage) -> None:
        # A page that answers 404 or 409 with its own form is no fault; the browser logs it under the page's address.
        # Nor is a request of htmx that ends with its page; one that is answered badly the browser logs itself.
        cut = message.text.startswith(("htmx:afterRequest", "htmx:sendError", "htmx:sendAbort"))
        # Nor that a page asks once for what it shows of jobs when its socket opens, and its reader signs out meanwhile.
        left = "401 (Unauthorized)" in message.text and message.location["url"].endswith("/jobs/frame/")
        if message.type == "error" and message.location["url"] != page.url and not cut and not left:
            errors.append(f"{message.text} {message.location['url']}")

    page.on("console", hear)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def authenticator(page: Page) -> CDPSession:
    """A platform authenticator whose finger is always there."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session


def picture(page: Page, name: str, **options: Any) -> None:
    """Keep a screenshot where WHARFIE_SCREENSHOTS says, for people to look at."""
    if directory := os.environ.get("WHARFIE_SCREENSHOTS"):
        page.screenshot(path=Path(directory) / f"{name}.png", **options)


def sign_up(page: Page, console: Console) -> None:
    """Be its first user; who is that already, from a test before, only opens it."""
    if cookies := _signed_up.get(console.pid):
        page.context.add_cookies(cookies)
        page.goto(console.address)
        if page.locator("input[name=username]").count():  # signed out by a test before
            page.locator("input[name=username]").fill("captain")
            page.locator("input[type=password]").fill(PASSWORD)
            page.locator("main form button.primary").first.click()
            page.wait_for_url(f"{console.address}/")
    else:
        page.goto(console.setup_link)
        picture(page, "setup")
        page.get_by_label("User name").fill("captain")
        for field in page.locator("input[type=password]").all():
            field.fill(PASSWORD)
        page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    _signed_up[console.pid] = page.context.cookies()
