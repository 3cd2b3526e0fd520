"""Long work goes on while pages are left and reloaded, and while the web process is killed in the middle of it."""

from __future__ import annotations

import os
import re
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine import Engine
from tests.browser.conftest import Console, picture, sign_up

pytestmark = pytest.mark.browser

BIG_MIB = 600
LONG_MS = 120_000
SEND = """() => {
  const form = document.querySelector("form[data-announce]");
  return fetch(form.action, { method: "POST", body: new FormData(form), redirect: "manual" }).then(() => true);
}"""


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Path]:
    """A root file system that takes a while to read: bytes that no disk or archive makes small."""
    path = tmp_path / "big.tar"
    noise = os.urandom(2**20)
    with tarfile.open(path, "w") as tar:
        for number in range(BIG_MIB // 50):
            part = tmp_path / "part"
            with open(part, "wb") as file:
                for _ in range(50):
                    file.write(noise)
            tar.add(part, f"srv/part-{number}")
            part.unlink()
    yield path
    path.unlink()


def web_of(supervisor: int) -> int:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return next(int(pid) for pid in children if b"\0web\0" in Path(f"/proc/{pid}/cmdline").read_bytes())


def import_(page: Page, console: Console, archive: Path, name: str) -> None:
    page.goto(f"{console.address}/images/import/")
    page.get_by_label("File from this computer").set_input_files(archive)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Import").click()
    page.wait_for_url(re.compile(r"/jobs/\w+/$"), timeout=LONG_MS)


def test_a_reload_in_the_middle_loses_nothing(page: Page, console: Console, archive: Path) -> None:
    sign_up(page, console)
    import_(page, console, archive, "team/big:1")
    main = page.locator("main")
    expect(main.get_by_role("button", name="Cancel job")).to_be_visible()
    expect(page.locator(".top").get_by_text("1 job runs")).to_be_visible()
    address = page.url
    page.reload()
    expect(main.locator("ol.log")).to_contain_text("Reading the root file system")
    page.goto(f"{console.address}/containers/")
    page.locator(".top").get_by_text(re.compile("1 job runs")).click()
    expect(main.get_by_role("link", name="Import big.tar")).to_be_visible()
    picture(page, "jobs-running")
    page.goto(address)
    picture(page, "job-running")
    expect(main.get_by_text("Done", exact=True)).to_be_visible(timeout=LONG_MS)
    expect(main.locator("ol.log li")).to_contain_text(["Reading the root file system", "Layer 1 of 1"])
    assert page.url == address
    picture(page, "job-done")


# The next one may be there again before anybody has looked.
STALE = """() => new MutationObserver(() => { window.wasStale ||= document.body.classList.contains("stale"); })
    .observe(document.body, {attributes: true, attributeFilter: ["class"]})"""


def test_a_web_process_that_is_killed_goes_on_with_the_upload(
    page: Page, console: Console, archive: Path, errors: list[str]
) -> None:
    sign_up(page, console)
    import_(page, console, archive, "team/big:1")
    main = page.locator("main")
    expect(main.get_by_role("button", name="Cancel job")).to_be_visible()
    expect(main.locator("ol.log li").first).to_be_visible()  # it came through the page's socket
    expect(page.locator("[data-connection]").first).to_have_text("Live, 1 s")  # else the next one lacks its ticket
    page.evaluate(STALE)
    os.kill(web_of(console.pid), signal.SIGKILL)
    page.wait_for_function("() => window.wasStale", timeout=LONG_MS)
    expect(main.get_by_text("attempt 2")).to_be_visible(timeout=LONG_MS)
    expect(main.get_by_text("Done", exact=True)).to_be_visible(timeout=LONG_MS)
    expect(main.locator("ol.log")).to_contain_text("Begun again")
    expect(main.get_by_role("link", name="Create container from team/big:1")).to_be_visible()
    with Engine(console.config) as engine:
        assert engine.image("team/big:1").size_bytes > BIG_MIB * 2**20 * 0.9
    assert not list((console.config.root / "jobs").glob("*/upload"))
    page.goto("about:blank")  # so that no more of them comes
    # A socket that the killed one had not answered yet, or that the next one has no ticket for: the page opens another.
    errors[:] = [error for error in errors if "/live/?ticket=" not in error]


def test_an_upload_says_how_far_it_is_and_can_be_cancelled(page: Page, console: Console, tmp_path: Path) -> None:
    sign_up(page, console)
    large = tmp_path / "large.tar"
    large.touch()
    os.truncate(large, 200 * 2**20)
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")

    def throttle(bytes_per_s: int) -> None:
        limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_s}
        network.send("Network.emulateNetworkConditions", limits)

    throttle(10 * 2**20)
    page.goto(f"{console.address}/images/import/")
    page.get_by_label("File from this computer").set_input_files(large)
    page.get_by_label("Name", exact=True).fill("team/large:1")
    send = page.get_by_role("button", name="Import")
    send.click()
    expect(page.locator("[data-upload-words]")).to_have_text(re.compile(r"[\d.]+ MiB of 200 MiB sent"), timeout=20_000)
    picture(page, "upload")
    page.get_by_role("button", name="Cancel upload").click()
    expect(page.locator("[data-upload]")).to_be_hidden()
    expect(send).to_be_enabled()
    throttle(-1)
    send.click()
    page.wait_for_url(re.compile(r"/jobs/\w+/$"), timeout=LONG_MS)
    with Engine(console.config) as engine:
        assert [path for path in engine.paths.tmp.iterdir() if path.suffix == ".upload"] == []


def test_a_result_rings_the_bell_where_one_is(page: Page, console: Console) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/images/import/")
    page.get_by_label("Or a path on the server").fill("/no/such.tar")
    other = page.context.new_page()
    other.goto(f"{console.address}/volumes/")
    bell = other.locator(".top").get_by_role("button", name=re.compile("you have not seen"))
    expect(bell).to_have_accessible_name("0 results that you have not seen")
    page.evaluate(SEND)  # and the page of the job is not looked at
    expect(bell).to_have_accessible_name("1 result that you have not seen", timeout=10_000)
    bell.click()
    expect(other.locator("#bell")).to_contain_text("Import /no/such.tar")
    picture(other, "bell")
    other.get_by_role("button", name="I have seen them").click()
    expect(bell).to_have_accessible_name("0 results that you have not seen")
    other.close()


def test_a_backup_is_made_and_fetched(page: Page, console: Console) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/system/")
    page.get_by_role("button", name="Back up now").click()
    expect(page.locator("main").get_by_text("Done", exact=True)).to_be_visible(timeout=LONG_MS)
    with page.expect_download() as waiting:
        page.get_by_role("link", name=re.compile("Download wharfie-")).click()
    with tarfile.open(waiting.value.path()) as backup:
        assert backup.getnames()[0] == "state.db"
