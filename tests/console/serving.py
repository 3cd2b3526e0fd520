"""A running `manage.py serve`, and somebody who visits it as a browser does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from engine.config import Config
from tests.conftest import wait_readable

TOP = Path(__file__).resolve().parents[2]
PASSWORD = "a long and quiet harbour"


class Serve:
    """A running `manage.py serve`, its output read line by line."""

    def __init__(self, config: Config, stdin: int = subprocess.DEVNULL, **settings: str) -> None:
        self.config = config
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WHARFIE_T")}
        environment |= {"WHARFIE_ROOT": str(config.root), "WHARFIE_RUN": str(config.run)}
        environment |= {"WHARFIE_LISTEN": "127.0.0.1:0", "WHARFIE_TEST_SESSION": os.environ["WHARFIE_TEST_SESSION"]}
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "serve"],
            cwd=TOP,
            env=environment | settings,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        self._output = self.process.stdout
        self.text = ""

    def until(self, pattern: str, timeout_s: float = 20) -> str:
        """Read on until the output matches; the match's first group."""
        while not (match := re.search(pattern, self.text)):
            assert wait_readable(self._output.fileno(), timeout_s), f"no {pattern!r} in:\n{self.text}"
            data = os.read(self._output.fileno(), 4096)
            assert data, f"it ended without {pattern!r}:\n{self.text}"
            self.text += data.decode()
        return match[match.lastindex or 0]

    def child(self, name: str) -> int:
        """The pid of its launcher or web process."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if name in Path(f"/proc/{pid}/cmdline").read_text())

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it, read the rest, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.text += self.process.communicate(timeout=30)[0].decode()
        return self.process.returncode


class Visitor:
    """Keeps the cookies of one console, and nothing of what it answers."""

    def __init__(self, address: str) -> None:
        self.host = urlsplit(address).netloc
        self.cookies: dict[str, str] = {}

    def open(self) -> HTTPConnection:
        return HTTPConnection(self.host, timeout=60)

    def headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def get(self, path: str) -> str:
        """A page's text."""
        return self._ask("GET", path, None)

    def post(self, path: str, page: str = "", /, **fields: str) -> str:
        """Send a form as its page has it: the one at its own address, or another."""
        fields["csrfmiddlewaretoken"] = self.token(page or path)
        return self._ask("POST", path, urlencode(fields))

    def press(self, path: str, token: str) -> int:
        """Press a page's button, whose form is its token alone; the status of the answer."""
        connection = self.open()
        try:
            body = urlencode({"csrfmiddlewaretoken": token})
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", path, body, self.headers() | kind)
            return connection.getresponse().status
        finally:
            connection.close()

    def token(self, path: str) -> str:
        """The page's guard against forged forms."""
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(path))
        assert found
        return found[1]

    def _ask(self, method: str, path: str, body: str | None) -> str:
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection = self.open()
        try:
            connection.request(method, path, body, self.headers() | kind)
            answer = connection.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie", []):
                name, _equals, rest = cookie.partition("=")
                self.cookies[name] = rest.partition(";")[0]
            assert answer.status < 400, answer.read()
            return answer.read().decode()
        finally:
            connection.close()


def visitor(serve: Serve, timeout_s: float = 20) -> Visitor:
    """Somebody who has just come."""
    return Visitor(serve.until(r"listens on (http://\S+)\s", timeout_s))


def captain(serve: Serve, timeout_s: float = 20) -> Visitor:
    """Its first user, who followed the link of its output."""
    somebody = visitor(serve, timeout_s)
    path = serve.until(r"http://[^/\s]+(/setup/\S+)", timeout_s)
    somebody.post(path, username="captain", password=PASSWORD, again=PASSWORD)
    return somebody


def peak_bytes(pid: int) -> int:
    """The most memory that a process has held."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) * 1024


def forgotten_peak(pid: int) -> int:
    """The same, once it is no more than the process holds now: proc_pid_clear_refs(5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_bytes(pid)
