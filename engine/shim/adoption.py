"""A new shim for a container whose own was killed: it goes on where that one stopped.

Nothing of the container was touched by that. What it writes waits in its pipes, of which the keeper has the other
ends; the log tells how far the last one got, a frame that it had not finished included. How the container ends is told
by the launcher, whose child it has become (PR_SET_CHILD_SUBREAPER), or by the kernel (PIDFD_GET_INFO, Linux 6.15): else
nobody knows.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import time
from typing import Any

from engine.linux import files, process, unix
from engine.shim import protocol, starter, stdio
from engine.shim.custody import Deposit
from engine.shim.handover import Handover
from engine.shim.stdio import STDERR, STDOUT
from engine.shim.supervise import Supervisor

STATUS = struct.Struct("<i")  # a wait status, from the launcher
PATIENCE_S = 5.0  # until a dead process is reaped by whoever has to


def adopt(shims: str, container_id: str, kept: Deposit | None, status: int) -> None:
    """Become the shim of a container, and see it through to its end. Returns at once when it needs none.

    ``status`` is the read end of a pipe on which the keeper says how its first process ended, or -1.
    """
    try:
        with open(f"{shims}/{container_id}.request", "rb") as file:
            request = json.load(file)
    except FileNotFoundError:  # it has just ended in good order, or was cleared away
        return
    with files.locked(request["lock"]):  # against a start, and a removal
        try:
            with open(request["record"], "rb") as file:
                record = json.load(file)
        except FileNotFoundError:
            return
        if process.start_time(record["shim_pid"]) == record["shim_start_time"]:
            return
        supervisor = _take_over(request, record, kept, status)
    if request["tty"] and not record.get("resting"):
        _find_server(request, supervisor)
    if kept is None:
        supervisor.deposit().send(request["custody"])
    last = record["history"][-1] if record.get("resting") else None
    supervisor.run(last)
    supervisor.leave_engine()


def _take_over(request: dict[str, Any], record: dict[str, Any], kept: Deposit | None, status: int) -> Supervisor:
    process.set_name(f"shim {request['id']}".encode())
    os.setsid()
    process.protect_from_oom(starter.SHIM_OOM_SCORE)
    pidfd, outputs, given = _rest_of(record, kept)
    streams = dict(zip((STDOUT, STDERR), outputs, strict=False))
    log = stdio.Log.resumed(request["log"], request["log_segment_bytes"], request["log_segments"], streams)
    own = os.getpid()
    facts = record | {"shim_pid": own, "shim_start_time": process.start_time(own)}
    listener = protocol.listen(request["socket"])
    files.replace(request["record"], json.dumps(facts).encode())
    handed = facts | {"request": {key: request[key] for key in starter.SHIM_NEEDS}, "log": log.state()}
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
    return Supervisor(
        run, lambda: _learn(pidfd, status), restarts=record.get("restarts", 0), history=record.get("history", [])
    )


def _rest_of(record: dict[str, Any], kept: Deposit | None) -> tuple[int, tuple[int, ...], int]:
    """Its pidfd (-1: it is dead), its outputs and its input: what was kept, or what can be found of it."""
    lives = process.start_time(record["pid"]) == record["start_time"]
    if kept is not None and kept.pid == record["pid"] and not record.get("resting"):
        return kept.pidfd, kept.outputs, kept.input
    for descriptor in kept.descriptors() if kept is not None else ():  # of an earlier run
        os.close(descriptor)
    if not lives:
        return -1, (), -1
    pidfd = os.pidfd_open(record["pid"])
    if process.start_time(record["pid"]) != record["start_time"]:  # it ended, and its number is used again
        os.close(pidfd)
        return -1, (), -1
    found = [pipe for pipe in (_pipe(record["pid"], number, record["pipes"]) for number in (1, 2)) if pipe >= 0]
    if len(found) < len(record["pipes"]):  # it has closed one itself, and what it wrote there cannot be had
        print(f"wharfie shim: the output of {record['pid']} that was not read yet is lost", flush=True)
    return pidfd, tuple(found), -1


def _find_server(request: dict[str, Any], supervisor: Supervisor) -> None:
    """Who serves its terminal lives on without a shim; if that was killed too, there is another one."""
    directory, _, name = request["terminal"].rpartition("/")
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with door:
        try:
            door.settimeout(PATIENCE_S)
            door.connect(unix.address(directory_fd, name))
            protocol.send(door, {"op": "about"})
            answer = protocol.receive(door)
            server = answer[0]["server"] if answer else 0
        except (OSError, EOFError):
            server = 0
        finally:
            os.close(directory_fd)
    if server:
        supervisor.look_after(server)
    else:
        supervisor.sit_down_again()


def _pipe(pid: int, number: int, known: list[int]) -> int:
    """The other end of the pipe that a process has as its stdout or stderr, if it is one that we gave it; else -1."""
    path = f"/proc/{pid}/fd/{number}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1
    if os.fstat(descriptor).st_ino not in known:
        os.close(descriptor)
        return -1
    os.set_blocking(descriptor, True)
    return descriptor


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
            if descriptor == pidfd and (known := process.exit_status(pidfd)) is not None:
                return known
            if descriptor == status and len(told := os.read(status, STATUS.size)) == STATUS.size:
                return int(STATUS.unpack(told)[0])
    return None
