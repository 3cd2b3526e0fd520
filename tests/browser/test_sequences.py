"""Sequences that a program sends to a terminal so that it does harm: to the browser, the clipboard, the next program.

A terminal must answer some questions, as where the cursor is. An answer has one form, and nothing of the asker's in it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from playwright.sync_api import Page, expect

from engine import ContainerSpec, Engine, ExecSpec
from tests.browser.conftest import Console, picture, sign_up
from tests.browser.test_terminal import shows

pytestmark = [pytest.mark.browser, pytest.mark.one_console]

HARM = "rm -rf harm"
ESC, BEL, ST = "\x1b", "\x07", "\x1b\\"
B64 = "aGFybQ=="  # harm
# Each in the words of the program, with HOST for the address of a trap.
SEQUENCES = {
    # Operating system commands (xterm, "ctlseqs")
    "title and icon": f"{ESC}]0;{HARM}{BEL}", "icon": f"{ESC}]1;{HARM}{BEL}", "title": f"{ESC}]2;{HARM}{ST}",
    "X property": f"{ESC}]3;WM_NAME={HARM}{BEL}", "title by C1": f"\x9d2;{HARM}\x9c",
    "colour": f"{ESC}]4;1;?{BEL}", "special colour": f"{ESC}]5;0;?{BEL}", "directory": f"{ESC}]7;file://HOST/harm{BEL}",
    "link": f"{ESC}]8;;http://HOST/link{ST}a link{ESC}]8;;{ST}",
    "link to a script": f"{ESC}]8;;javascript:alert(1){ST}a script{ESC}]8;;{ST}",
    "link to data": f"{ESC}]8;;data:text/html,<script>alert(1)</script>{ST}data{ESC}]8;;{ST}",
    "link to a file": f"{ESC}]8;;file:///etc/passwd{ST}a file{ESC}]8;;{ST}",
    "link without end": f"{ESC}]8;;http://HOST/x{ST}",
    "notification": f"{ESC}]9;{HARM}{BEL}", "progress": f"{ESC}]9;4;1;50{BEL}", "foreground": f"{ESC}]10;?{BEL}",
    "background": f"{ESC}]11;?{BEL}", "cursor colour": f"{ESC}]12;?{BEL}", "pointer colour": f"{ESC}]13;?{BEL}",
    "selection colour": f"{ESC}]17;?{BEL}", "log file": f"{ESC}]46;/tmp/harm{BEL}", "font": f"{ESC}]50;{HARM}{BEL}",
    "font asked": f"{ESC}]50;?{BEL}", "emacs": f"{ESC}]51;{HARM}{BEL}", "clipboard": f"{ESC}]52;c;{B64}{BEL}",
    "clipboard asked": f"{ESC}]52;c;?{BEL}", "primary": f"{ESC}]52;p;{B64}{ST}",
    "all selections": f"{ESC}]52;pc01;{B64}{BEL}",
    "kitty notification": f"{ESC}]99;i=1;{HARM}{ST}", "kitty clipboard": f"{ESC}]5522;type=write;{B64}{ST}",
    "prompt": f"{ESC}]133;A{BEL}", "editor": f"{ESC}]633;E;{HARM}{BEL}", "rxvt": f"{ESC}]777;notify;{HARM};x{BEL}",
    "iTerm file": f"{ESC}]1337;File=name={B64};inline=1:{B64}{BEL}", "iTerm copy": f"{ESC}]1337;Copy=:{B64}{BEL}",
    "iTerm clipboard": f"{ESC}]1337;CopyToClipboard=general{BEL}{HARM}\r{ESC}]1337;EndCopy{BEL}",
    "iTerm url": f"{ESC}]1337;OpenURL=:aHR0cDovL0hPU1Q={BEL}",
    "iTerm variable": f"{ESC}]1337;ReportVariable={B64}{BEL}",
    "iTerm cell": f"{ESC}]1337;ReportCellSize{BEL}", "iTerm focus": f"{ESC}]1337;StealFocus{BEL}",
    "command without end": f"{ESC}]2;{HARM}" + "x" * 5000 + BEL,
    # Device control strings
    "setting asked": f"{ESC}P$qm{ST}", "setting asked with harm": f"{ESC}P$q\r{HARM}\r{ST}",
    "setting asked by C1": f"\x90$q{HARM}\x9c", "terminfo asked": f"{ESC}P+q544e;{HARM.encode().hex()}{ST}",
    "terminfo set": f"{ESC}P+p544e{ST}", "keys": f"{ESC}P1;1|17/{HARM.encode().hex()}{ST}",
    "sixel": f"{ESC}Pq#0;2;0;0;0~-{ST}",
    "tmux": f"{ESC}Ptmux;{ESC}{ESC}]52;c;{B64}{BEL}{ST}", "screen": f"{ESC}P{ESC}]52;c;{B64}{BEL}{ST}",
    "application": f"{ESC}_Gf=100,t=f;{B64}{ST}", "privacy": f"{ESC}^{HARM}{ST}", "string": f"{ESC}X{HARM}{ST}",
    # Reports
    "attributes": f"{ESC}[c", "secondary": f"{ESC}[>c", "tertiary": f"{ESC}[=c", "name and version": f"{ESC}[>q",
    "status": f"{ESC}[5n", "cursor": f"{ESC}[6n", "cursor, DEC": f"{ESC}[?6n", "printer": f"{ESC}[?15n",
    "locked keys": f"{ESC}[?25n",
    "mode": f"{ESC}[?1049$p", "parameters": f"{ESC}[x", "checksum": f"{ESC}[1;1;1;1;5;5*y", "answerback": "\x05",
    "title reported": f"{ESC}]2;{HARM}{BEL}{ESC}[21t", "icon reported": f"{ESC}]1;{HARM}{BEL}{ESC}[20t",
    "title pushed": f"{ESC}[22;2t", "title popped": f"{ESC}[23;2t",
    "window": f"{ESC}[11t", "position": f"{ESC}[13t", "pixels": f"{ESC}[14t", "screen in pixels": f"{ESC}[15t",
    "cell": f"{ESC}[16t", "rows": f"{ESC}[18t", "screen in rows": f"{ESC}[19t",
    # The window, printers, floods, and text that is none
    "closed": f"{ESC}[2t", "moved": f"{ESC}[3;9999;9999t", "resized": f"{ESC}[8;1;1t", "maximized": f"{ESC}[9;1t",
    "printed": f"{ESC}[5i{HARM}{ESC}[4i", "screen printed": f"{ESC}[i", "bells": BEL * 20000,
    "parameters without end": f"{ESC}[" + "9;" * 20000 + "m", "repeated": f"A{ESC}[99999999b",
    "lines": "".join(f"{ESC}[99999999{final}" for final in "LMSTZI@PXEFGd"),
    "markup": "<img src=http://HOST/img onerror=alert(1)><script>alert(1)</script><iframe src=//HOST></iframe>",
    "reordered": "\u202egnp.exe\u202c \u2066x\u2069 \u200f", "tags": "".join(chr(0xE0000 + ord(c)) for c in "harm"),
    "piled": "a" + "\u0301" * 3000, "zero width": "\u200b" * 3000,
}  # fmt: skip
# Its answer to what a program may ask, and all of the answer.
NUMBERS = r"\x1b\[[?>]?[\d;]*"
COLOUR = r"rgb:[\da-f]{4}/[\da-f]{4}/[\da-f]{4}\x1b\\"
ANSWERS = {
    "attributes": NUMBERS + "c", "secondary": NUMBERS + "c", "status": r"\x1b\[0n", "cursor": r"\x1b\[\d+;\d+R",
    "cursor, DEC": r"\x1b\[\?\d+;\d+R", "mode": NUMBERS + r"\$y", "setting asked": r"\x1bP[01]\$r[\d;]*m?\x1b\\",
    "setting asked with harm": r"\x1bP0\$r\x1b\\", "setting asked by C1": r"\x1bP0\$r\x1b\\",
    "colour": r"\x1b\]4;1;" + COLOUR, "foreground": r"\x1b\]10;" + COLOUR, "background": r"\x1b\]11;" + COLOUR,
    "cursor colour": r"\x1b\]12;" + COLOUR,
}  # fmt: skip
# Sends one after the other; the cursor's place, asked after each, says that it was read.
PROGRAM = r"""
import json, os, re, sys, termios, tty
tty.setraw(0)
found = {}
for name, text in json.load(open("/sequences")).items():
    os.write(1, b"\x1b[H" + text.encode("utf-8", "surrogatepass") + b"\x1b\\\x1b[0m\r\x1b[5;7H\x1b[6n")
    answer = b""
    while not answer.endswith(b"\x1b[5;7R"):
        answer += os.read(0, 4096)
    found[name] = answer[: -len(b"\x1b[5;7R")].decode("latin-1")
json.dump(found, open("/answers", "w"))
os.write(1, b"\x1b[2J\x1b[Hall is sent")
os.read(0, 1)
"""


class Trap(BaseHTTPRequestHandler):
    """Remembers who came."""

    came: list[str]

    def do_GET(self) -> None:
        """Nobody should."""
        self.came.append(self.path)
        self.send_error(404)


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    came: list[str] = []
    server = HTTPServer(("127.0.0.1", 0), type("Trap", (Trap,), {"came": came}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", came
    server.shutdown()
    thread.join()
    server.server_close()


def put(engine: Engine, path: str, text: str) -> None:
    with engine.exec("sea", ExecSpec(("sh", "-c", f"cat > {path}"))) as execution:
        assert execution.output(text.encode(), timeout_s=30)[0] == 0


def test_nothing_that_a_program_sends_does_harm(
    page: Page, console: Console, elsewhere: Engine, trap: tuple[str, list[str]]
) -> None:
    assert len(SEQUENCES) >= 60
    host, came = trap
    spec = ContainerSpec(image="wharfie/starter", name="sea", command=("sleep", "1000"))
    elsewhere.make_starter_image()  # for its Python
    elsewhere.start(elsewhere.create(spec).id)
    put(elsewhere, "/sequences", json.dumps({name: text.replace("HOST", host) for name, text in SEQUENCES.items()}))
    put(elsewhere, "/program", PROGRAM)
    sign_up(page, console)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{console.address}/containers/sea/terminals/")
    page.evaluate("navigator.clipboard.writeText('as it was')")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.get_by_label("Command", exact=True).fill("python3 /program")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Open a terminal").click()
    expect(page.locator("[data-terminal-state]")).to_have_text("Connected")
    title = page.title()
    shows(page, "all is sent", timeout_s=60)
    picture(page, "terminal-hostile")

    with elsewhere.exec("sea", ExecSpec(("cat", "/answers"), stdin=False)) as execution:
        answers: dict[str, str] = json.loads(execution.output(timeout_s=30)[1])
    assert answers.keys() == SEQUENCES.keys()
    wrong = {name: text for name, text in answers.items() if not re.fullmatch(ANSWERS.get(name, ""), text)}
    assert wrong == {}
    assert page.evaluate("navigator.clipboard.readText()") == "as it was"
    assert (page.title(), page.url.startswith(console.address)) == (title, True)
    assert page.locator(".xterm").locator("img, script, iframe, a, object, embed, link, form").count() == 0
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069]", page.locator(".xterm-rows").text_content() or "")
    assert [url for url in asked if not url.startswith(console.address)] == []
    assert (came, dialogs, len(page.context.pages)) == ([], [], 1)

    # And who typed nothing has typed nothing: the next program finds its input empty.
    page.keyboard.press("x")
    expect(page.locator("[data-terminal-state]")).to_contain_text("Ended with exit code 0")


def test_text_cannot_be_turned_around_even_in_pieces(page: Page, console: Console, elsewhere: Engine) -> None:
    spec = ContainerSpec(image="wharfie/starter", name="sea", command=("sleep", "1000"))
    elsewhere.start(elsewhere.create(spec).id)
    sign_up(page, console)
    page.goto(f"{console.address}/containers/sea/terminals/")
    page.get_by_role("button", name="Open a terminal").click()
    expect(page.locator("[data-terminal-state]")).to_have_text("Connected")
    page.keyboard.type(
        r"printf 'inv\342'; sleep 1; printf '\200\256f.exe \347\201\257\347\201'; sleep 1; printf '\257 e''nd\n'" + "\n"
    )
    shows(page, r"invf\.exe 灯 ?灯 ? end")
    assert page.evaluate("!document.querySelector('.xterm-rows').textContent.includes('\\u202e')")
