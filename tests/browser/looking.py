"""What a browser can tell about how a page looks: whether axe-core finds fault with it, and whether it fits."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
from playwright.sync_api import Page

WIDTHS = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}

_AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
_VIOLATIONS = """async (options) => (await axe.run(options)).violations.map((rule) => `${rule.id}: ${rule.help}: ${
    rule.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(" | ")}`)"""
# What sticks out of the page sideways, by the first few elements that do.
_TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
        .slice(0, 3).map((each) => each.outerHTML.slice(0, 160))"""


def faults(page: Page, *rules: str) -> list[str]:
    """What is wrong with the page as it is shown now; by these rules of axe alone, if any are named."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(f"{_AXE}\n0")  # 0 comes back: to describe axe itself takes most of a second
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    return [*page.evaluate(_VIOLATIONS, options), *page.evaluate(_TOO_WIDE)]
