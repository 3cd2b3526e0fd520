"""One health check: run its command in the container, and keep the accounts that Docker's HEALTHCHECK speaks of.

The record holds the status, how many checks failed in a row, and the last few results. It is absent until the first
check has ended, which stands for "starting". docs.docker.com/reference/dockerfile/#healthcheck
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import time
from typing import Any

from engine.cgroups import manager
from engine.errors import EngineError, KernelError
from engine.linux import files, pidfds
from engine.shim import session
from engine.storage import wakeups

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
KEPT_RESULTS = 5
OUTPUT_BYTES = 4096
LOOK_S = 1.0  # how often a check that takes its time is looked at
ENDING_S = 0.5  # for the first process of a container, which is the last to end: a check ends with the others
_SHAPE = {"status": str, "failing_streak": int, "results": list}


class Schedule:
    """When a container is checked, by the monotonic clock."""

    def __init__(self, check: dict[str, Any]) -> None:
        self._check = check
        self._began = time.monotonic()
        self._proved = False  # one check has succeeded, which ends the start period
        self.due = self._began + self._interval_s()

    def _in_start_period(self) -> bool:
        return not self._proved and time.monotonic() - self._began < self._check["start_period_s"]

    def _interval_s(self) -> float:
        interval_s: float = self._check["start_interval_s" if self._in_start_period() else "interval_s"]
        return interval_s

    def begin(self) -> bool:
        """A check begins; whether its failure would not count. None is due until it has `ended`."""
        self.due = math.inf
        return self._in_start_period()

    def ended(self, status: int) -> None:
        """It ended with this wait status."""
        self._proved = self._proved or status == 0
        self.due = time.monotonic() + self._interval_s()


def probe(request: dict[str, Any], init_pidfd: int, group: manager.Group, *, grace: bool) -> bool:
    """Check once, in a process forked for it; whether it was healthy. With ``grace`` a failure does not count.

    A container that is paused is not asked: it could not answer.
    """
    if group.frozen():
        return False
    began_ns = time.time_ns()
    code, output = _run(request, init_pidfd, group)
    result = {
        "started_at_ns": began_ns, "finished_at_ns": time.time_ns(), "code": code,
        "output": output.decode("utf-8", "replace"),
    }  # fmt: skip
    # One that was killed, or could not begin, may have met the container's end, which is no failure of its own.
    if pidfds.ended(init_pidfd, ENDING_S if code is not None and code >= KernelError.exit_code else 0):
        return False
    path = request["health_record"]
    known = read(path)
    status, streak = _judge(known["status"], known["failing_streak"], code, request["health"]["retries"], grace=grace)
    results = [*known["results"], result][-KEPT_RESULTS:]
    files.replace(path, json.dumps({"status": status, "failing_streak": streak, "results": results}).encode())
    if status != known["status"]:
        wakeups.wake(request["events"])
    return code == 0


def read(path: str) -> dict[str, Any]:
    """The record at ``path``; what stands for none, also where it is damaged: the next check writes it anew."""
    try:
        with open(path, "rb") as file:
            record = json.load(file)
    except (FileNotFoundError, ValueError):
        record = None
    if isinstance(record, dict) and _SHAPE.items() <= {key: type(value) for key, value in record.items()}.items():
        return record
    return {"status": STARTING, "failing_streak": 0, "results": []}


def _judge(status: str, streak: int, code: int | None, retries: int, *, grace: bool) -> tuple[str, int]:
    """(status, failures in a row) after a check that ended with ``code``, None for one that took too long."""
    if code == 0:
        return HEALTHY, 0
    if grace and status == STARTING:
        return status, streak
    streak += 1
    return (UNHEALTHY if streak >= retries else status), streak


def _run(request: dict[str, Any], init_pidfd: int, group: manager.Group) -> tuple[int | None, bytes]:
    """(exit code or None when it was killed for its slowness, the beginning of what it wrote)."""
    check = request["health"]
    try:
        with open(request["request"], "rb") as file:  # as at its start, and too much to be kept in memory
            wish = json.load(file)
        wish |= {"argv": wish["health"]["test"], "tty": False, "stdin": False, "output": True}
        pid, pidfd, held, _ = session.start(wish, init_pidfd, request["uid_base"], group)
    except EngineError as error:
        return error.exit_code, str(error).encode()
    except OSError as error:
        return KernelError.exit_code, str(KernelError.from_os(error, "joining the container")).encode()
    deadline = time.monotonic() + check["timeout_s"]  # from its execution on: our own delay is not its fault
    outputs = held[1:]
    poll = select.poll()
    for descriptor in (pidfd, *outputs):
        poll.register(descriptor, select.POLLIN)
    output, ended = b"", False
    while not ended and (left_s := deadline - time.monotonic()) > 0:
        ready = poll.poll(min(left_s, LOOK_S) * 1000)
        if not ready and group.frozen():  # while it is paused, so is its clock
            deadline += min(left_s, LOOK_S)
        for descriptor, _ in ready:
            if descriptor == pidfd:
                ended = True
            elif chunk := os.read(descriptor, 65536):
                output = (output + chunk)[:OUTPUT_BYTES]
            else:
                poll.unregister(descriptor)
    if not ended:
        os.killpg(pid, signal.SIGKILL)  # it began a session of its own, and is not reaped yet: the number is its
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for descriptor in outputs:
        os.set_blocking(descriptor, False)
        try:
            output = (output + os.read(descriptor, 65536))[:OUTPUT_BYTES]
        except BlockingIOError:  # nothing left
            continue
    if not ended:
        return None, output + f"took longer than {check['timeout_s']:g} s, and was killed".encode()
    return (status if status >= 0 else 128 - status), output
