"""A new shim for a container whose own was killed: it goes on where that one stopped.

Nothing of the container was touched by that. What it writes waits in its pipes, of which the keeper has the other
ends; the log tells how far the last one got, a frame that it had not finished included. How the container ends is told
by the launcher, whose child it has become (PR_SET_CHILD_SUBREAPER), or by the kernel (PIDFD_GET_INFO, Linux 6.15): else
nobody knows.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import time
from collections.abc import Iterable
from typing import Any

from engine.cgroups import manager
from engine.linux import files, pidfds, process, unix
from engine.shim import ending, protocol, restarts, starter, stdio
from engine.shim.custody import Deposit
from engine.shim.handover import Handover
from engine.shim.stdio import STDERR, STDOUT
from engine.shim.supervise import Supervisor
from engine.storage import wakeups

STATUS = struct.Struct("<i")  # a wait status, from the launcher
PATIENCE_S = 5.0  # until a dead process is reaped by whoever has to


def claimed(shims: str, container_id: str, *, wait: bool) -> int:
    """A container's request, locked: by that whoever looks knows that a new shim is on its way, whatever becomes of
    launcher and keeper. -1 when it needs none any more, or when another one is on its way and is not waited for."""
    path = f"{shims}/{container_id}.request"
    while True:
        try:
            request = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it has just ended in good order, or was cleared away
            return -1
        try:
            fcntl.flock(request, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(request), os.stat(path)):
                return request
        except (BlockingIOError, FileNotFoundError):
            os.close(request)
            return -1
        os.close(request)  # it was written anew meanwhile


def adopt(shims: str, container_id: str, kept: Deposit | None = None, status: int = -1, claim: int = -1) -> None:
    """Become the shim of a container, and see it through to its end. Returns when it needs none.

    ``status`` is the read end of a pipe on which the keeper says how its first process ended, or -1; ``claim`` what
    `claimed` gave. Without that, whoever is on its way comes first: it may have what nobody else has, of an earlier
    keeper.
    """
    if claim < 0:
        claim = claimed(shims, container_id, wait=True)
    if claim < 0:
        return
    with open(claim, "rb") as claim_file:
        request = json.load(claim_file)
        with files.locked(request["lock"]):  # against a start, and a removal
            try:
                record = json.loads(files.content(request["record"]))
            except FileNotFoundError:
                return
            if process.start_time(record["shim_pid"]) == record["shim_start_time"]:
                return
            if _is_over(request, record):
                return
            supervisor = _take_over(request, record, kept, status)
    with supervisor.deposit() as deposit:
        deposit.send(request["custody"])
    last = record["history"][-1] if record.get("resting") else None
    supervisor.run(last)


def _is_over(request: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether the last shim has said how it ended, and was killed while it gave up the file system. Then that stands,
    and what is left is cleared away."""
    try:
        ended = json.loads(files.content(request["exit"]))
    except (FileNotFoundError, ValueError):
        return False
    if not isinstance(ended, dict) or ended.get("started_at_ns", 0) < record["started_at_ns"]:
        return False
    ending.clear_away(request, manager.group(request["instance"], request["id"]))
    wakeups.wake(request["events"])
    return True


def _take_over(request: dict[str, Any], record: dict[str, Any], kept: Deposit | None, status: int) -> Supervisor:
    process.set_name(f"shim {request['id']}".encode())
    os.setsid()
    process.protect_from_oom(starter.SHIM_OOM_SCORE)
    server, lent = _server(request) if request["tty"] and not record.get("resting") else (0, [])
    pidfd, outputs, given = _rest_of(record, kept, lent)
    streams = dict(zip((STDOUT, STDERR), outputs, strict=False))
    log = stdio.Log.resumed(request["log"], request["log_segment_bytes"], request["log_segments"], streams)
    own = os.getpid()
    facts = record | {"shim_pid": own, "shim_start_time": process.start_time(own)}
    if record.get("resting") and restarts.wish(request["restart"])[0] == restarts.NO:  # it was stopped meanwhile
        facts["resting"] = False
    listener = protocol.listen(request["socket"])
    files.replace(request["record"], json.dumps(facts).encode())
    handed = facts | {"request": starter.needed(request), "log": log.state()}
    run = Handover(
        name=b"",
        raw=json.dumps(handed).encode(),
        checked=request["health"] is not None,
        pidfd=pidfd,
        root=-1,
        tree=_tree(record, pidfd),
        outputs=outputs,
        input=given,
        desk=-1,
        exit=os.open(request["exit"], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600),
        log=log.fd,
        listener=listener.detach(),
    )
    before, history = record.get("restarts", 0), record.get("history", [])
    if record.get("resting"):  # the last end is judged, counted and noted once more
        before, history = before - 1, history[:-1]
    supervisor = Supervisor(run, lambda: _learn(pidfd, status), restarts=before, history=history)
    if server:
        supervisor.look_after(server)
    elif request["tty"] and given >= 0:
        supervisor.sit_down_again()
    return supervisor


def _server(request: dict[str, Any]) -> tuple[int, list[int]]:
    """Who serves its terminal lives on without a shim: its pid, the host's end, and the pipe that it copies into.

    (0, []) when that was killed too.
    """
    try:
        with unix.connect(request["terminal"], timeout_s=PATIENCE_S) as door:
            protocol.send(door, {"op": "lend"})
            answer = protocol.receive(door)
    except (OSError, EOFError):
        answer = None
    return (answer[0]["server"], answer[1]) if answer else (0, [])


def _rest_of(record: dict[str, Any], kept: Deposit | None, lent: list[int]) -> tuple[int, tuple[int, ...], int]:
    """Its pidfd (-1: it is dead), its outputs and its input: what was kept, what was lent, or what can be found."""
    if kept is not None and kept.pid == record["pid"] and not record.get("resting"):
        _close(lent)
        return kept.pidfd, kept.outputs, kept.input
    _close(kept.descriptors() if kept is not None else ())  # of an earlier run
    pidfd = pidfds.opened(record["pid"], record["start_time"])
    if pidfd is None:
        _close(lent)
        return -1, (), -1
    if lent:
        master, copy = lent
        output = os.open(f"/proc/self/fd/{copy}", os.O_RDONLY | os.O_CLOEXEC)
        os.close(copy)
        return pidfd, (output,), master
    found = [pipe for pipe in (_pipe(record["pid"], number, record["pipes"]) for number in (1, 2)) if pipe >= 0]
    if len(found) < len(record["pipes"]):  # it has closed one itself, and what it wrote there cannot be had
        print(f"wharfie shim: the output of {record['pid']} that was not read yet is lost", flush=True)
    return pidfd, tuple(found), -1


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _pipe(pid: int, number: int, known: list[int]) -> int:
    """The other end of the pipe that a process has as its stdout or stderr, if it is one that we gave it; else -1."""
    try:
        place = os.open(f"/proc/{pid}/fd/{number}", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        # What else it may have put there is not opened: that could act, and a file may have any number.
        if os.fstat(place).st_ino not in known or files.filesystem_magic(place) != files.PIPEFS_MAGIC:
            return -1
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(place)


def _tree(record: dict[str, Any], pidfd: int) -> int:
    """A descriptor of its mount namespace, so that its mounts do not end in the way of its exit; -1 when it is dead."""
    if pidfd < 0:
        return -1
    try:
        return os.open(f"/proc/{record['pid']}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _learn(pidfd: int, status: int) -> int | None:
    """How it ended, as a wait status; None when nobody saw it."""
    if pidfd < 0:
        return None
    poll = select.poll()
    poll.register(pidfd, 0)  # its POLLHUP, which tells that it was reaped (Linux 6.15), needs no asking
    if status >= 0:
        poll.register(status, select.POLLIN)
    until = time.monotonic() + PATIENCE_S
    while (left_s := until - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left_s * 1000):
            poll.unregister(descriptor)
            if descriptor == pidfd and (known := pidfds.exit_status(pidfd)) is not None:
                return known
            if descriptor == status and len(told := os.read(status, STATUS.size)) == STATUS.size:
                return int(STATUS.unpack(told)[0])
    return None
