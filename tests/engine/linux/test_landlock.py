"""What is given up by Landlock is gone."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

from engine.linux import landlock, process


def in_child(act: Callable[[], object]) -> int:
    """The errno that ``act`` fails with in a process of its own; 0 when it works."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 255)
        finally:
            os._exit(254)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def restricted(directory: Path, rights: int, act: Callable[[], object]) -> int:
    """The errno of ``act`` once all other rights are given up."""

    def both() -> None:
        process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
        assert landlock.restrict(str(directory), rights)
        act()

    return in_child(both)


def test_only_what_was_kept_is_left_and_only_there(tmp_path: Path) -> None:
    if landlock.abi() == 0:
        assert landlock.restrict(str(tmp_path), 0) is False, "a kernel without it is no error, and nothing is claimed"
        return
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    (inside / "file").write_text("x")
    outside.write_text("y")
    kept = landlock.READ_FILE | landlock.READ_DIR
    assert restricted(inside, kept, (inside / "file").read_text) == 0
    assert restricted(inside, kept, lambda: list(inside.iterdir())) == 0
    assert restricted(inside, kept, outside.read_text) == errno.EACCES
    assert restricted(inside, kept, lambda: (inside / "file").write_text("z")) == errno.EACCES
    assert restricted(inside, kept, (inside / "new").mkdir) == errno.EACCES
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        expected = errno.EACCES if landlock.abi() >= 4 else 0
        assert restricted(inside, kept, lambda: socket.create_connection(address).close()) == expected
