"""How a launcher is started: by the supervisor, or by a command line that finds none; and when it has to go.

A launcher holds the code that it was started with. Its arguments tell which that is, so that a console that was brought
up to date does not go on with the one of before.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from engine.config import Config
from engine.linux import pidfds
from engine.shim import protocol
from engine.storage.instance import instance_id

RETIRE_S = 5.0


def command(config: Config, *, idle: bool = False) -> list[str]:
    """The launcher's argv; with ``idle`` it ends by itself when nobody needs it.

    ``-I -S``: no site-packages and no PYTHON* variables.
    """
    program = Path(__file__).with_name("__main__.py")
    stay = "idle" if idle else "stay"
    return [sys.executable, "-I", "-S", str(program), str(config.run), instance_id(config), stay, build()]


def build() -> str:
    """Which code this is: a digest of the engine's files and of where they lie."""
    top = Path(__file__).resolve().parent.parent
    state = hashlib.sha256()
    for path in sorted(top.rglob("*.py")):
        found = path.stat()
        state.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return f"{protocol.VERSION}-{state.hexdigest()[:12]}"


def retire_other(pid: int) -> bool:
    """End the launcher ``pid`` if it holds other code than this; containers and starts under way do not notice.

    True when it is gone; False when it may stay, or has not ended in time.
    """
    try:
        pidfd = pidfds.of(pid)
    except ProcessLookupError:
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[-2:-1] == [build().encode()]:
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        return pidfds.ended(pidfd, RETIRE_S)
    except (FileNotFoundError, ProcessLookupError):  # by itself, just now
        return True
    finally:
        os.close(pidfd)


def spawn(config: Config) -> None:
    """Start a launcher that stays while it is needed, detached from this process's terminal and session."""
    with subprocess.Popen(
        command(config, idle=True),  # goes into the background by itself
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    ) as starter:
        starter.wait()
