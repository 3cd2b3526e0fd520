"""Every page by day and night, in English and Chinese, on a desk and on a phone.

axe-core finds nothing, the browser logs no error, the content policy refuses nothing, nothing is wider than the screen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect

from engine import ContainerSpec, Engine
from tests.browser.conftest import Console, picture, sign_up
from tests.browser.pages import PAGES

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
VIOLATIONS = """async (options) => (await axe.run(options)).violations.map((rule) => `${rule.id}: ${rule.help}: ${
    rule.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(" | ")}`)"""
# What sticks out of the page sideways, by the first few elements that do.
TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
        .slice(0, 3).map((each) => each.outerHTML.slice(0, 160))"""
WIDTHS = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@pytest.fixture
def harbour(console: Console) -> Iterator[dict[str, str]]:
    """A console with something of each kind; the names that stand in addresses."""
    with Engine(console.config) as engine:
        image = engine.make_starter_image()
        talk = ("sh", "-c", "echo a line; sleep 1000")
        engine.start(engine.create(ContainerSpec(image="wharfie/starter", name="web", command=talk)).id)
        done = engine.create(ContainerSpec(image="wharfie/starter", name="done", command=("sh", "-c", "exit 3"))).id
        engine.start(done)
        engine.wait(done)
        engine.create(ContainerSpec(image="wharfie/starter", name="new"))
        engine.create_volume("harbour")
        yield {"web": "web", "done": "done", "image": image.id}
        for container in engine.containers():
            engine.remove(container.id, force=True)


def faults(page: Page, theme: str) -> list[str]:
    """What is wrong with the page as it is shown now. Night differs from day in colours alone."""
    page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    page.evaluate(AXE)
    options = {"runOnly": ["color-contrast"]} if theme == "dark" else {}
    return [*page.evaluate(VIOLATIONS, options), *page.evaluate(TOO_WIDE)]


def walk(page: Page, console: Console, paths: list[str]) -> list[str]:
    """Look at all of them in every way; what is wrong, each with where."""
    found = []
    for language, path in product(("en", "zh-hans"), paths):
        page.context.add_cookies([{"name": "wharfie_language", "value": language, "url": console.address}])
        page.goto(console.address + path)
        expect(page.locator(f"html[lang={language}] main")).to_be_visible()
        for (width, size), theme in product(WIDTHS.items(), ("light", "dark")):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            found += [f"{path} ({language}, {theme}, {width}): {fault}" for fault in faults(page, theme)]
            name = re.sub(r"[^a-z0-9]+", "-", path).strip("-")[:40] or "overview"
            picture(page, f"{name}-{language}-{width}-{theme}")
        page.set_viewport_size(WIDTHS["desk"])  # type: ignore[arg-type]
    return found


def test_every_page_is_accessible_and_fits(page: Page, console: Console, harbour: dict[str, str]) -> None:
    found = walk(page, console, ["/sign-in/", "/setup/spent/"])
    page.context.clear_cookies()
    sign_up(page, console)
    page.goto(f"{console.address}/images/")
    page.get_by_role("button", name="Make the starter image").first.click()
    page.wait_for_url(re.compile("/jobs/"))
    expect(page.get_by_text("Done", exact=True)).to_be_visible(timeout=90_000)
    harbour["job"] = page.url.rstrip("/").rpartition("/")[2]
    found += walk(page, console, [path.format_map(harbour) for path in PAGES])
    assert not found, "\n".join(found)


@pytest.fixture
def debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHARFIE_DEBUG", "1")


@pytest.mark.usefixtures("debug")
def test_every_piece_is_accessible_and_fits(page: Page, console: Console) -> None:
    sign_up(page, console)
    found = walk(page, console, ["/styleguide/"])
    page.goto(f"{console.address}/styleguide/")
    for opens in ("palette", "keys", "sample"):
        page.locator(f"main [data-opens={opens}]").click()
        expect(page.locator(f"dialog#{opens}")).to_be_visible()
        found += [f"{opens}: {fault}" for theme in ("light", "dark") for fault in faults(page, theme)]
        picture(page, f"styleguide-{opens}")
        page.keyboard.press("Escape")
        expect(page.locator(f"dialog#{opens}")).to_be_hidden()
    assert not found, "\n".join(found)
