"""A person at headless Chromium who is signed in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from benchmarks.visitor import NAME, PASSWORD

BROWSER = "/usr/bin/chromium-headless-shell"
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")


class Person:
    """Their browser, and the console's address."""

    def __init__(self, browser: Browser, link: str) -> None:
        self._browser = browser
        self.address = link.partition("/setup/")[0]
        first = browser.new_context()
        page = first.new_page()
        page.goto(link)
        page.get_by_label("User name").fill(NAME)
        for field in page.locator("input[type=password]").all():
            field.fill(PASSWORD)
        page.get_by_role("button", name="Create the account").click()
        page.wait_for_load_state()
        self._signed_in = first.storage_state()
        first.close()

    def fresh(self) -> BrowserContext:
        """A window that is signed in and has nothing in its cache."""
        return self._browser.new_context(storage_state=self._signed_in, viewport={"width": 1440, "height": 900})


@contextmanager
def person(link: str) -> Iterator[Person]:
    """Whoever followed the link."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=list(QUIET))
        try:
            yield Person(browser, link)
        finally:
            browser.close()
