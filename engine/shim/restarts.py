"""Whether a container that has ended runs again, and when.
docs.docker.com/engine/containers/start-containers-automatically

The wish is a file of one line, in the container's directory: the engine writes it at a start and takes it away at a
stop; the shim takes it away when it gives up. So it is there as long as the container is to run.
"""

from __future__ import annotations

import os

from engine.linux import files

NO, ON_FAILURE, ALWAYS, UNLESS_STOPPED = "no", "on-failure", "always", "unless-stopped"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 60.0
STEADY_S = 10.0  # a run of that length begins the pauses anew


def wish(path: str) -> tuple[str, int]:
    """(mode, how many times in a row at most; 0: any number); ("no", 0) when there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return NO, 0
    try:
        mode, _, most = os.read(descriptor, 64).decode("ascii", "replace").strip().partition(":")
    finally:
        os.close(descriptor)
    return mode, int(most) if most.isdigit() else 0


def again(path: str, code: int | None, restarts: int) -> bool:
    """Whether one that ended with ``code`` (None: nobody knows), restarted so often already, is to run again."""
    mode, most = wish(path)
    if mode == ON_FAILURE:
        return code != 0 and (not most or restarts < most)
    return mode in (ALWAYS, UNLESS_STOPPED)


def give_up(path: str) -> None:
    """It stays ended."""
    files.remove(path)


class Pauses:
    """How long to wait before the next run: twice as long each time."""

    def __init__(self) -> None:
        self._next_s = FIRST_PAUSE_S

    def after(self, run_s: float) -> float:
        """The pause in seconds after a run that lasted ``run_s``."""
        if run_s >= STEADY_S:
            self._next_s = FIRST_PAUSE_S
        pause_s = self._next_s
        self._next_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return pause_s
