"""A container's files, changes and processes, as somebody works with them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine import Container, ContainerSpec, Engine
from tests.browser.conftest import Console, picture, sign_up
from tests.images import busybox_rootfs

pytestmark = [pytest.mark.browser, pytest.mark.one_console]
PHONE = {"width": 390, "height": 844}
BUSY = "sleep 1001 & while :; do i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; busybox usleep 200000; done"


@pytest.fixture
def box(console: Console, tmp_path: Path) -> Container:
    with Engine(console.config) as engine:
        engine.load_image(busybox_rootfs(tmp_path / "busybox.tar"), name="busybox")
        made = engine.create(ContainerSpec(image="busybox", name="box", command=("sh", "-c", BUSY)))
        engine.start(made.id)
        engine.browse.upload(made.id, "/etc/<b>bold<b>", io.BytesIO(b"x"), 1)
        return engine.inspect(made.id)


def both_themes(page: Page, name: str) -> None:
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        picture(page, f"{name}-{theme}")


def on_a_phone(page: Page, name: str) -> None:
    before = page.viewport_size
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    picture(page, f"{name}-phone")
    page.set_viewport_size(before)  # type: ignore[arg-type]


def test_files_are_looked_at_uploaded_edited_and_removed(page: Page, console: Console, box: Container) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/box/")
    page.get_by_role("link", name="Files", exact=True).click()
    both_themes(page, "files-root")
    page.get_by_role("link", name="etc", exact=True).click()
    expect(page.get_by_role("link", name="<b>bold<b>", exact=True)).to_be_visible()
    page.locator("input[type=file]").set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"one\ntwo\n"}
    )
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_text("Uploaded notes.txt")).to_be_visible()
    page.locator("input[type=file]").set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"other"}
    )
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_text("is there already")).to_be_visible()
    expect(page.get_by_text("required")).to_have_count(0)
    both_themes(page, "files-taken")
    on_a_phone(page, "files")
    page.get_by_role("link", name="notes.txt", exact=True).click()
    expect(page.locator("pre")).to_have_text("one\ntwo\n")
    both_themes(page, "file")
    on_a_phone(page, "file")
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_label("Text").fill("three\n")
    both_themes(page, "file-edit")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("pre")).to_have_text("three\n")
    page.get_by_role("link", name=re.compile("^Rename…$")).click()
    page.get_by_role("dialog").get_by_label("Name").fill("renamed.txt")
    picture(page, "file-rename")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(page.get_by_role("link", name="renamed.txt", exact=True)).to_be_visible()
    page.get_by_role("link", name="Remove renamed.txt").click()
    picture(page, "file-remove")
    page.get_by_role("dialog").get_by_role("button", name="Remove renamed.txt").click()
    expect(page.get_by_role("link", name="renamed.txt", exact=True)).to_have_count(0)

    page.get_by_role("link", name="Changes", exact=True).click()
    expect(page.get_by_role("row", name=re.compile("Added.*bold"))).to_be_visible()
    both_themes(page, "changes")
    on_a_phone(page, "changes")
    page.get_by_role("link", name="Commit to an image…").click()
    both_themes(page, "commit")
    on_a_phone(page, "commit")


def test_processes_live_and_one_is_signalled(page: Page, console: Console, box: Container) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/box/processes/")
    table = page.locator("table.processes")
    first = table.locator("tbody tr").first
    expect(first.locator("[data-p=cpu]")).to_have_text(re.compile(r"[1-9][0-9]*\.[0-9]"), timeout=20_000)
    expect(first.locator("[data-p=command]")).to_contain_text("sh -c")  # the busy one is the first
    before = first.locator("[data-p=cpu]").inner_text()
    expect(first.locator("[data-p=cpu]")).not_to_have_text(before, timeout=20_000)
    both_themes(page, "processes")
    on_a_phone(page, "processes")
    sleeper = table.locator("tbody tr", has=page.get_by_text("sleep 1001", exact=True))
    sleeper.get_by_role("radio").check()
    expect(first.locator("[data-p=cpu]")).not_to_have_text(first.locator("[data-p=cpu]").inner_text(), timeout=20_000)
    expect(sleeper.get_by_role("radio")).to_be_checked()
    page.get_by_label("Signal").select_option("KILL")
    page.get_by_role("button", name="Send to the chosen process").click()
    expect(page.get_by_text("Sent KILL to the process")).to_be_visible()
    expect(sleeper).to_have_count(0, timeout=20_000)
