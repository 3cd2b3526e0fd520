"""The first walk of a new user: from the setup link to a container that came and went."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console, picture, sign_up

# One after the other on one worker, so that their browser is closed before another test of it.
pytestmark = pytest.mark.browser

# Works and rests by turns and prints a line a turn, so that the log, the CPU and the memory all move.
COMMAND = """sh -c 'n=10; while true; do j=0; while [ $j -lt 400000 ]; do j=$((j+1)); done; n=$((n+1));
echo "line $n"; sleep 1; done'""".replace("\n", " ")


def test_from_the_setup_link_to_a_removed_container(page: Page, console: Console) -> None:
    sign_up(page, console)
    picture(page, "overview-empty")

    page.goto(f"{console.address}/images/")
    picture(page, "images-empty")
    page.get_by_role("button", name="Make the starter image").first.click()
    expect(page.locator("main").get_by_text("Done", exact=True)).to_be_visible(timeout=90_000)
    picture(page, "starter-done")

    page.goto(f"{console.address}/containers/-/create/")
    page.get_by_label("Image", exact=True).fill("wharfie/starter")
    page.get_by_label("Name", exact=True).fill("first")
    page.get_by_label("Command", exact=True).fill(COMMAND)
    picture(page, "create")
    page.get_by_role("button", name="Create and start").click()

    expect(page.get_by_role("heading", name="first")).to_be_visible()
    log = page.locator("ol.log")
    expect(log).to_contain_text(re.compile(r"line \d\d"))
    newest = log.locator("li").last
    expect(newest).not_to_have_text(newest.inner_text())

    cpu, memory = page.locator(".facts [data-f=cpu]"), page.locator(".facts [data-f=mem]")
    expect(cpu).to_have_text(re.compile(r"0\.[0-9]*[1-9]|[1-9]"), timeout=10_000)
    expect(memory).to_have_text(re.compile(r"\d"))
    expect(cpu).not_to_have_text(cpu.inner_text(), timeout=10_000)
    picture(page, "details-running")
    page.goto(f"{console.address}/containers/")
    expect(page.get_by_role("link", name="first", exact=True)).to_be_visible()
    picture(page, "containers")
    page.get_by_role("link", name="first", exact=True).click()

    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text(re.compile("Exited|Stopped|Failed", re.IGNORECASE)).first).to_be_visible(timeout=20_000)
    picture(page, "details-stopped")
    page.get_by_role("link", name="Remove").first.click()
    picture(page, "remove")
    page.get_by_role("button", name="Remove first").click()
    page.wait_for_url(f"{console.address}/containers/")
    expect(page.get_by_role("link", name="first", exact=True)).to_have_count(0)


def test_what_cannot_work_is_said_at_its_field(page: Page, console: Console) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/-/create/")
    page.get_by_label("Image", exact=True).fill("no/such-image")
    page.get_by_role("button", name="Create and start").click()
    expect(page.get_by_text("no/such-image").first).to_be_visible()
    picture(page, "create-error")


def test_the_system_page_says_what_the_host_can_do(page: Page, console: Console) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/system/")
    expect(page.get_by_text("idmapped overlay")).to_be_visible()
    expect(page.get_by_text("the filter loads")).to_be_visible()
    picture(page, "system")
