"""The server of a terminal, with no container behind it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.linux import pidfds
from engine.shim import terminal


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """The host's end of a terminal, and the program's."""
    master, slave = os.openpty()
    yield master, slave
    os.close(slave)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "door"))
        door.listen()
        yield door


def test_many_small_writes_are_kept_as_few_pieces(ends: tuple[int, int], listener: socket.socket) -> None:
    """Each is a frame for who attaches: a million of them would be more than is ever kept for one client."""
    master, slave = ends
    served = terminal.Terminal(master, -1, listener, {})
    for _ in range(20_000):
        os.write(slave, b".")
        assert served._read()
    assert b"".join(served._scrollback) == b"." * 20_000
    assert len(served._scrollback) < 10
    os.close(master)


def test_one_whose_log_takes_nothing_any_more_ends_with_its_program(
    ends: tuple[int, int], listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk, of which the shim has stopped to copy: nobody reads the pipe, and it never breaks."""
    monkeypatch.setattr(terminal, "LAST_S", 0.3)
    master, slave = ends
    read_end, copy = os.pipe()
    with subprocess.Popen(("sleep", "1000")) as program:
        pidfd = pidfds.of(program.pid)
        os.set_blocking(copy, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(copy, bytes(4096))
        os.write(slave, b"the last words")
        program.kill()
        began = time.monotonic()
        served = terminal.Terminal(master, pidfd, listener, {}, copy)
        served.serve()
        assert time.monotonic() - began < 10
        assert served._uncopied == b"the last words"
    for descriptor in (pidfd, read_end, copy, *([served._master] if served._master >= 0 else [])):
        os.close(descriptor)
