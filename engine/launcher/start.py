"""How a launcher is started: by the supervisor, or by a command line that finds none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engine.config import Config
from engine.storage.instance import instance_id


def command(config: Config, *, idle: bool = False) -> list[str]:
    """The launcher's argv; with ``idle`` it ends by itself when nobody needs it.

    ``-I -S``: no site-packages and no PYTHON* variables.
    """
    program = Path(__file__).with_name("__main__.py")
    return [sys.executable, "-I", "-S", str(program), str(config.run), instance_id(config), "idle" if idle else "stay"]


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
