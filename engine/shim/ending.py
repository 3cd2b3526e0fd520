"""How a run ended, as the shim tells it; the engine reads it as an `engine.containers.spec.ExitRecord`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from engine.cgroups import manager
from engine.cgroups.counters import Oom
from engine.cgroups.manager import Group
from engine.errors import EngineError
from engine.linux import files

TOLD_CHARACTERS = 300  # of an error: nine of these have a place on a full disk


def note_asked(record: str, started_at_ns: int, number: int) -> None:
    """A run is about to get a signal that somebody asked for: noted beside its run record, so that a shim which takes
    over knows too, and whoever sends one where no shim answers can say so. Without room for it the signal goes out all
    the same."""
    try:
        files.replace(asked_path(record), f"{started_at_ns} {number}".encode())
    except OSError as error:
        print(f"wharfie: that signal {number} was asked for cannot be noted: {error}", file=sys.stderr, flush=True)


def asked_for(record: str, started_at_ns: int) -> int:
    """The last signal that was asked for in a run, or 0."""
    try:
        noted, _, number = files.content(asked_path(record)).partition(b" ")
    except FileNotFoundError:
        return 0
    return int(number) if noted == b"%d" % started_at_ns and number.isdigit() else 0


def asked_path(record: str) -> str:
    """Where that is noted, by the path of the run record."""
    return f"{record.removesuffix('.json')}.asked"


def oom(group: Group) -> Oom:
    """What the out-of-memory killer did in a run's group; nothing when somebody else has removed that already."""
    try:
        return group.oom()
    except FileNotFoundError:
        return Oom(0, None)


def record(status: int | None, oom: Oom, signalled: int, lost_bytes: int) -> dict[str, Any]:
    """Of a run with this wait status, None when nobody saw it; ``signalled`` is the last signal asked for, or 0."""
    code = None if status is None else os.waitstatus_to_exitcode(status)
    reasons = []
    if code is None:
        reasons.append("its shim was killed, so nobody saw the exit code, nor perhaps what it wrote last")
    elif signalled and code:
        reasons.append(f"signal {signalled} was asked for")
    if lost_bytes:
        reasons.append(f"the disk was full, {lost_bytes} bytes of output are lost")
    return {
        "code": 128 - code if code is not None and code < 0 else code,
        "signal": -code if code is not None and code < 0 else None,
        "oom_killed": oom.kills > 0,
        "oom_limit_bytes": oom.limit_bytes,
        "asked_signal": signalled or None,
        "finished_at_ns": time.time_ns(),
        "reason": "; ".join(reasons),
    }


def failure(error: EngineError, before_ns: int) -> dict[str, Any]:
    """Of a run that did not begin, after one that did at ``before_ns``."""
    message = error.message[:TOLD_CHARACTERS]
    reasons = [f"it could not be started again: {message}"]
    if error.hint:
        reasons.append(error.hint)
    began_ns = max(time.time_ns(), before_ns + 1)
    told = {"code": error.exit_code, "started_at_ns": began_ns, "reason": "; ".join(reasons)}
    return record(None, Oom(0, None), 0, 0) | told


def clear_away(request: dict[str, Any], group: Group) -> None:
    """The files of a container that runs, and what is left of its control groups.

    If that cannot be removed its socket stays: by that the engine finds it, before the next start or at the removal,
    and tries again.
    """
    gone = [request["socket"], request["request"], request["record"]]  # the record last: it tells that we live
    try:
        manager.clear(group)
    except OSError as error:
        print(f"wharfie shim: {error}", file=sys.stderr, flush=True)
        gone.remove(request["socket"])
    directory, _, name = request["socket"].rpartition("/")
    for left in os.listdir(directory):
        if left.startswith(f"{request['id']}.") and left != name and left.endswith(".sock"):
            files.remove(f"{directory}/{left}")  # a session that was killed left it, or one is just ending
    files.remove(asked_path(request["record"]))
    for path in gone:
        files.remove(path)
