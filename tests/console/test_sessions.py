"""`wharfie exec` and `attach`, in front of pipes and of a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Config, ContainerSpec, Engine
from tests.conftest import eventually

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture
def sea(config: Config, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine with a running container ``sea``, which the command line finds."""
    monkeypatch.setenv("WHARFIE_ROOT", str(config.root))
    monkeypatch.setenv("WHARFIE_RUN", str(config.run))
    engine.make_starter_image()
    engine.start(engine.create(ContainerSpec(image="wharfie/starter", name="sea", command=("sleep", "1000"))).id)
    return engine


def wharfie(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "manage.py", "wharfie", *arguments]
    return subprocess.run(command, cwd=TOP, input=data, capture_output=True, timeout=60, check=False)


class Person:
    """Somebody at a terminal of 30 rows and 100 columns."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(TOP)
            os.execv(sys.executable, [sys.executable, "manage.py", "wharfie", *arguments])
        self.resize(30, 100)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def sees(self, text: bytes, timeout_s: float = 20) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.seen:
            assert select.select([self.fd], (), (), max(0.0, deadline - time.monotonic()))[0], self.seen
            self.seen += os.read(self.fd, 65536)
        self.seen = self.seen.split(text, 1)[1]

    def leaves_with(self) -> int:
        """The exit code; reads what is still said."""
        said = b""
        while True:
            assert select.select([self.fd], (), (), 60)[0], said
            try:
                if not (more := os.read(self.fd, 65536)):
                    break
            except OSError:
                break
            said += more
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def people() -> Iterator[list[Person]]:
    found: list[Person] = []
    yield found
    for person in found:
        os.close(person.fd)


def test_pipes_go_through_and_the_code_is_the_commands(sea: Engine) -> None:
    done = wharfie("exec", "-i", "sea", "sh", "-c", "cat; echo err >&2; exit 9", data=b"in\n")
    assert (done.returncode, done.stdout, done.stderr) == (9, b"in\n", b"err\n")
    assert wharfie("exec", "sea", "cat", data=b"unread").stdout == b"", "without -i it gets nothing"
    options = ("-u", "1000:1000", "-w", "/tmp", "-e", "A=b")
    assert wharfie("exec", *options, "sea", "sh", "-c", "id -u; pwd; echo $A").stdout == b"1000\n/tmp\nb\n"


def test_a_toolbox_is_an_option_of_exec(sea: Engine) -> None:
    done = wharfie("exec", "--toolbox", "sea", "sh", "-c", "ls -d /container/usr; ps -o args= -p 1; pwd")
    assert (done.returncode, done.stdout) == (0, b"/container/usr\nsleep 1000\n/container\n")
    done = wharfie("exec", "--toolbox", "-i", "sea", data=b"echo from its shell\n")
    assert (done.returncode, done.stdout) == (0, b"from its shell\n")


def test_much_goes_through_a_command_that_answers_as_it_reads(sea: Engine) -> None:
    data = b"".join(b"line %d of what a pipe cannot hold\n" % number for number in range(100_000))
    done = wharfie("exec", "-i", "sea", "cat", data=data)
    assert (done.returncode, done.stdout) == (0, data)
    short = wharfie("exec", "-i", "sea", "head", "-n", "1", data=data)
    assert (short.returncode, short.stdout) == (0, b"line 0 of what a pipe cannot hold\n")


def test_who_leaves_a_container_that_was_to_be_removed_finds_it_again(sea: Engine, people: list[Person]) -> None:
    person = Person("run", "-it", "--rm", "--name", "left", "wharfie/starter", "bash", "--norc")
    people.append(person)
    person.sees(b"# ")
    person.type(b"\x10\x11")
    person.sees(b"not be removed")
    assert person.leaves_with() == 0
    assert sea.inspect("left").pid
    person = Person("attach", "left")
    people.append(person)
    person.sees(b"# ")
    person.type(b"exit 5\r")
    assert person.leaves_with() == 5


def test_errors_are_as_docker_has_them(sea: Engine) -> None:
    assert wharfie("exec", "sea", "no-such-program").returncode == 127
    assert wharfie("exec", "sea", "/etc/passwd").returncode == 126
    unclear = (
        "exec nobody true",
        "exec sea",
        "exec -it sea sh",
        "exec -dt sea sh",
        "attach --session 0123456789ab sea",
    )
    for arguments in map(str.split, unclear):
        done = wharfie(*arguments)
        assert done.returncode == 125
        assert b"\n  " in done.stderr, "a hint"


def test_a_detached_command_goes_on_and_may_write_as_much_as_it_likes(sea: Engine) -> None:
    script = "seq 1 200000; touch /done"
    assert wharfie("exec", "-d", "sea", "sh", "-c", script).returncode == 0
    assert eventually(lambda: wharfie("exec", "sea", "ls", "/done").returncode == 0)


def test_a_person_types_leaves_and_comes_back(sea: Engine, people: list[Person]) -> None:
    person = Person("exec", "-it", "sea", "bash", "--norc")
    people.append(person)
    person.sees(b"# ")
    person.type(b"stty size; echo $((6*7))\r")
    person.sees(b"30 100\r\n42\r\n")
    person.resize(44, 111)
    os.kill(person.pid, signal.SIGWINCH)  # as the kernel does for a session's foreground
    person.type(b"sleep 0.2; stty size\r")
    person.sees(b"44 111\r\n")
    person.type(b"sh -c 'echo g\"\"o; exec sleep 100'\r")
    person.sees(b"go\r\n")
    person.type(b"\x03")  # goes to the program, not to us
    person.sees(b"# ")
    person.type(b"\x10")  # on its own it is the program's: the last command again
    person.type(b"\x10\x11")
    assert person.leaves_with() == 0
    assert len(sea.terminals("sea")) == 1

    again = Person("attach", "sea")
    people.append(again)
    again.sees(b"42")
    again.type(b"\x15exit 5\r")
    assert again.leaves_with() == 5
    assert eventually(lambda: sea.terminals("sea") == [])


def test_which_terminal_has_to_be_said(sea: Engine, people: list[Person]) -> None:
    from engine import ExecSpec

    terminals = [sea.terminal("sea", ExecSpec(("cat",))) for _ in range(2)]
    sessions = [terminal.info.session for terminal in terminals]
    person = Person("attach", "sea")
    people.append(person)
    person.sees(sessions[0].encode())
    assert person.leaves_with() == 125
    person = Person("attach", "--session", sessions[1], "sea")
    people.append(person)
    assert eventually(lambda: not termios.tcgetattr(person.fd)[3] & termios.ECHO), "it is raw"
    person.type(b"hello\r")
    person.sees(b"hello\r\nhello\r\n")
    sea.stop("sea", timeout_s=0)
    assert person.leaves_with() == 137
    for terminal in terminals:
        terminal.close()
