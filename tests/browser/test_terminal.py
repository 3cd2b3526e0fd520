"""A container's terminal in a real browser: typed, shown, resized, left and come back to."""

from __future__ import annotations

import random
import re
import shlex
import tarfile
import time
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from engine import ContainerSpec, Engine
from tests.browser.conftest import SOCKETS, Console, picture, sign_up
from tests.browser.looking import faults
from tests.images import BUSYBOX

pytestmark = [pytest.mark.browser, pytest.mark.one_console]
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# What the terminal shows, without its empty lines; xterm.js draws a row for each.
SCREEN = """() => [...document.querySelectorAll(".xterm-rows > div")].map((row) => row.textContent).join("\\n")"""


@pytest.fixture
def elsewhere(elsewhere: Engine) -> Engine:
    """The same, who runs a container ``sea``."""
    made = elsewhere.create(ContainerSpec(image="wharfie/starter", name="sea", command=("sleep", "1000")))
    elsewhere.start(made.id)
    return elsewhere


def shows(page: Page, pattern: str, timeout_s: float = 10) -> None:
    """Wait until the screen has it."""
    deadline = time.monotonic() + timeout_s
    while not re.search(pattern, screen := page.evaluate(SCREEN).replace("\xa0", " ")):
        assert time.monotonic() < deadline, screen
        page.wait_for_timeout(50)


def test_a_terminal_works_survives_a_reload_and_ends(page: Page, console: Console, elsewhere: Engine) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/sea/")
    page.get_by_role("link", name="Terminal").click()
    expect(page.locator(".tabs [aria-current]")).to_have_text("Terminal")
    page.get_by_role("button", name="Open a terminal").click()
    expect(page.locator("[data-terminal-state]")).to_have_text("Connected")
    page.keyboard.type("x=6; echo be''fore $((x*7))\n")
    shows(page, "before 42")
    picture(page, "terminal")
    page.reload()
    shows(page, "before 42")
    expect(page.locator("[data-terminal-state]")).to_have_text("Connected")
    page.keyboard.type("echo again $x\n")
    shows(page, "again 6")

    rows = int(page.evaluate("document.querySelectorAll('.xterm-rows > div').length"))
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.type("stty size\n")
    shows(page, r"\n\d+ [2-5]\d\s")
    picture(page, "terminal-phone")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.wait_for_timeout(300)
    page.keyboard.type("clear; stty size\n")
    shows(page, rf"\n?{rows} \d\d\d\s")

    # A program that draws the whole screen, and draws it again for who comes back.
    page.keyboard.type("top -d 1\n")
    shows(page, r"%CPU.*COMMAND[\s\S]*sleep")
    picture(page, "terminal-top")
    page.reload()
    shows(page, r"%CPU.*COMMAND[\s\S]*sleep")
    page.keyboard.type("q")
    page.keyboard.type("exit 3\n")
    expect(page.locator("[data-terminal-state]")).to_have_text("Ended with exit code 3")
    expect(page.get_by_role("link", name="Hang up")).to_be_hidden()
    expect(page.get_by_text("goes on when you leave this page")).to_be_hidden()
    page.keyboard.press("Control+Shift+L")
    expect(page.get_by_role("button", name="Screen reader")).to_be_focused()
    page.reload()
    expect(page.get_by_text("This terminal has ended.")).to_be_visible()


# Draws the whole screen, as editors do: on the alternate screen, anew for each size that it learns of.
DRAWS = r"""draw() { printf '\033[?1049h\033[2J\033[Hsize %s.' "$(stty size)"; }; trap draw WINCH; trap 'exit 4' INT; \
draw; while :; do sleep 0.05; done""".replace("\\\n", "")


def test_a_program_that_draws_the_screen_survives_a_storm_of_sizes(
    page: Page, console: Console, elsewhere: Engine
) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/sea/terminals/")
    page.get_by_label("Command", exact=True).fill(shlex.join(("sh", "-c", DRAWS)))
    page.get_by_role("button", name="Open a terminal").click()
    shows(page, r"size \d+ \d+\.")
    dice = random.Random(1)
    for turn in range(60):
        page.set_viewport_size({"width": dice.randrange(320, 1600), "height": dice.randrange(300, 1000)})
        if turn == 30:
            page.reload()
    page.set_viewport_size({"width": 900, "height": 640})
    page.wait_for_timeout(300)  # a size is told once it rests
    rows = int(page.evaluate("document.querySelectorAll('.xterm-rows > div').length"))
    shows(page, rf"^size {rows} \d+\.\s*$")
    page.keyboard.press("Control+c")
    expect(page.locator("[data-terminal-state]")).to_have_text("Ended with exit code 4")


def test_a_terminal_that_comes_back_takes_the_keys_from_nobody(page: Page, console: Console, elsewhere: Engine) -> None:
    page.add_init_script(SOCKETS)
    sign_up(page, console)
    page.goto(f"{console.address}/containers/sea/terminals/")
    page.get_by_role("button", name="Open a terminal").click()
    state = page.locator("[data-terminal-state]")
    expect(state).to_have_text("Connected")
    expect(page.locator(".tty textarea")).to_be_focused()
    page.get_by_label("Command", exact=True).fill("ca")
    page.evaluate("sockets.find((each) => each.url.includes('/terminals/')).close()")
    expect(state).to_have_text("Connection lost, trying again; keys are not sent")
    expect(state).to_have_text("Connected", timeout=30_000)
    page.keyboard.type("t")
    expect(page.get_by_label("Command", exact=True)).to_have_value("cat")


def test_what_it_shows_is_read_aloud_and_copied_on_request(page: Page, console: Console, elsewhere: Engine) -> None:
    """Ctrl+C is the program's; and a screen reader finds the rows as text only where somebody has one."""
    page.context.grant_permissions(["clipboard-read"])
    sign_up(page, console)
    page.goto(f"{console.address}/containers/sea/terminals/")
    page.get_by_role("button", name="Open a terminal").click()
    expect(page.locator("[data-terminal-state]")).to_have_text("Connected")
    page.keyboard.type("echo to be cop''ied\n")
    shows(page, "to be copied")
    rows = page.locator(".xterm-accessibility [role=listitem]")
    expect(rows).to_have_count(0)
    page.get_by_role("button", name="Screen reader").click()
    expect(rows.filter(has_text=re.compile("^to be copied"))).to_have_count(1)
    assert not faults(page)
    page.reload()
    expect(page.get_by_role("button", name="Screen reader", pressed=True)).to_be_visible()
    expect(rows.filter(has_text=re.compile("^to be copied"))).to_have_count(1)
    page.keyboard.type("echo al''oud\n")
    expect(page.locator(".xterm-accessibility .live-region")).to_contain_text("aloud")
    page.get_by_role("button", name="Screen reader").click()
    expect(rows).to_have_count(0)
    shows(page, "aloud")
    line = page.locator(".xterm-rows > div").filter(has_text=re.compile("^to be copied")).bounding_box()
    assert line
    page.mouse.dblclick(line["x"] + 55, line["y"] + line["height"] / 2)  # in its third word
    page.keyboard.press("Control+Shift+C")
    assert page.evaluate("() => navigator.clipboard.readText()") == "copied"


def test_two_terminals_and_hanging_up(page: Page, console: Console, elsewhere: Engine) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/containers/sea/terminals/")
    page.get_by_label("Command", exact=True).fill("sh -c 'unclosed")
    page.get_by_role("button", name="Open a terminal").click()
    expect(page.get_by_text("A quote is not closed")).to_be_visible()
    for command in ("cat", "sh"):
        page.get_by_label("Command", exact=True).fill(command)
        page.get_by_role("button", name="Open a terminal").click()
        # The page that one leaves has a terminal too, and says so until the new one is there.
        expect(page.locator("[aria-label='Open terminals'] [aria-current]")).to_have_text(command)
        expect(page.locator("[data-terminal-state]")).to_have_text("Connected")
    expect(page.locator("[aria-label='Open terminals'] a")).to_have_count(2)
    page.locator("[aria-label='Open terminals'] a", has_text="cat").click()
    expect(page.locator("[aria-label='Open terminals'] [aria-current]")).to_have_text("cat")
    expect(page.locator("[data-terminal-state]")).to_have_text("Connected")
    page.keyboard.type("echoed\n")
    shows(page, "echoed\\s+echoed")
    picture(page, "terminals")
    page.keyboard.press("Control+Shift+L")
    expect(page.get_by_role("link", name="Hang up")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("link", name="Cancel")).to_be_focused()
    page.get_by_role("button", name="Hang up the terminal").click()
    expect(page.locator("[aria-label='Open terminals'] a")).to_have_count(1)
    assert [info.command for info in elsewhere.terminals("sea")] == [("sh",)]
    elsewhere.stop("sea", timeout_s=0)
    expect(page.locator("[data-terminal-state]")).to_contain_text("Ended")


def test_keys_come_back_at_once_with_twenty_open(page: Page, console: Console, elsewhere: Engine) -> None:
    from engine import ExecSpec

    for _ in range(19):
        elsewhere.terminal("sea", ExecSpec(("sh", "-c", "while :; do date; sleep 0.2; done"))).close()
    sign_up(page, console)
    page.goto(f"{console.address}/containers/sea/terminals/")
    command = page.get_by_label("Command", exact=True)
    command.fill("cat")
    expect(command).to_have_value("cat")
    page.get_by_role("button", name="Open a terminal").click()
    expect(page.locator("[aria-label='Open terminals'] [aria-current]")).to_have_text("cat")
    expect(page.locator("[data-terminal-state]")).to_have_text("Connected")
    for word in ("one", "two", "three"):
        page.keyboard.type(f"{word}\n")
        shows(page, f"{word}\\s+{word}")


def test_an_image_without_a_shell_gets_a_toolbox(
    page: Page, console: Console, elsewhere: Engine, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "bare.tar", "w") as tar:
        tar.add(BUSYBOX, "sleep")
    elsewhere.load_image(tmp_path / "bare.tar", name="bare")
    elsewhere.start(elsewhere.create(ContainerSpec(image="bare", name="bare", command=("/sleep", "1000"))).id)
    sign_up(page, console)
    page.goto(f"{console.address}/containers/bare/terminals/")
    expect(page.get_by_text("This image has no shell.")).to_be_visible()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        picture(page, f"toolbox-offered-{scheme}")
    page.get_by_role("button", name="Open the toolbox").click()
    expect(page.locator("[data-terminal-state]")).to_have_text("Connected")
    page.keyboard.type("ls -l /container; ps -e -o pid,args\n")
    shows(page, r"sleep(.|\n)*1 /sleep 1000")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        picture(page, f"toolbox-{scheme}")
