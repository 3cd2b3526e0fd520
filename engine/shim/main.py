"""The shim's life: start the container, answer the caller, supervise until it ends, say how, clean up.

Nothing of a container is attached to the host's mount tree: its mounts live in its own namespace and end with it.
What is left to undo are the control groups, two files and a socket.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from typing import Any

from engine.cgroups import manager
from engine.errors import EngineError, KernelError, from_wire
from engine.linux import process, seccomp, unix
from engine.shim import init, protocol, rootfs, stdio
from engine.shim.supervise import Supervisor

FILTER = seccomp.compile_default()
SHIM_OOM_SCORE = -998

NAMESPACES = (
    process.CLONE_NEWUSER | process.CLONE_NEWNS | process.CLONE_NEWPID | process.CLONE_NEWUTS
    | process.CLONE_NEWIPC | process.CLONE_NEWTIME
)  # fmt: skip


def run(request: dict[str, Any], connection: socket.socket) -> None:
    """Serve one container, in a process forked for it. Returns after it ended; raises nothing."""
    os.setsid()
    process.set_name(f"shim {request['id'][:10]}")
    try:
        supervisor = _start(request)
    except EngineError as error:
        protocol.send(connection, {"error": error.to_wire()})
        return
    except OSError as error:
        protocol.send(connection, {"error": KernelError.from_os(error, "starting the container").to_wire()})
        return
    try:
        protocol.send(connection, {"pid": supervisor.pid, "started_at_ns": supervisor.started_at_ns})
    except OSError as error:  # the caller was killed; the container runs, and its record tells whoever looks
        print(f"wharfie shim: nobody waits for the start any more: {error}", file=sys.stderr, flush=True)
    connection.close()
    supervisor.run()


def _start(request: dict[str, Any]) -> Supervisor:
    """All of it or nothing: what was made is undone in reverse."""
    undo: list[Any] = []
    try:
        listener = _listen(request)  # first: were this shim killed, its socket tells that there is something to clear
        undo += [lambda: os.unlink(request["socket"]), listener.close]
        group = manager.group(request["instance"], request["id"])
        group.create(request["limits"])
        undo.append(group.remove)
        log = stdio.Log(request["log"], request["log_segment_bytes"], request["log_segments"])
        base = request["uid_base"]
        pumps, ends = [], []
        for stream in (stdio.STDOUT, stdio.STDERR):
            read_end, both = stdio.open_pipe(base)
            pumps.append(stdio.Pump(log, stream, read_end))
            ends.append(both)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        own_network = 0 if request["network"] == "host" else process.CLONE_NEWNET
        birthplace = group.birthplace()
        pid, pidfd = process.clone3(NAMESPACES | own_network, cgroup_fd=birthplace)
        if pid == 0:
            ours.close()
            listener.close()
            init.run(request, theirs, group, FILTER, *ends)
        if birthplace is not None:
            os.close(birthplace)
        theirs.close()
        undo.append(lambda: _end(pid, pidfd))
        root = _admit(request, ours, pid)
        undo.append(lambda: os.close(root) if root >= 0 else None)
        for descriptor in ends:
            os.close(descriptor)
        try:
            answer = protocol.receive(ours)
        except (EOFError, ConnectionError):
            answer = ({"class": "KernelError", "message": "the container's first process died while it was set up"}, [])
        ours.close()
        if answer is not None:
            raise from_wire(answer[0])
        supervisor = Supervisor(request, pid, pidfd, group, root, log, pumps, listener)
        supervisor.record()
        return supervisor
    except BaseException:
        for step in reversed(undo):
            try:
                step()
            except OSError as failed:  # the others are tried all the same
                print(f"wharfie shim: undoing a start: {failed}", file=sys.stderr, flush=True)
        raise


def _admit(request: dict[str, Any], door: socket.socket, pid: int) -> int:
    """What only the host's root can give to the waiting child: ids and mounts. Returns the overlay's descriptor."""
    try:
        process.write_id_maps(pid, request["uid_base"])
        protocol.send(door, {"step": "mapped"})
        # Written by us, so that it becomes the floor as well: the container cannot go below; proc(5) oom_score_adj.
        manager.write_text(f"/proc/{pid}/oom_score_adj", 0)
        userns = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        given: list[int] = []
        try:
            given.append(rootfs.overlay(request["layers"], request["upper"], request["work"], userns))
            given += rootfs.volumes(request["volumes"], userns)
            protocol.send(door, {"step": "go"}, given)
            return os.dup(given[0])
        finally:
            for descriptor in (userns, *given):
                os.close(descriptor)
    except ConnectionError:
        return -1  # the child is gone; what it said is read next


def _end(pid: int, pidfd: int) -> None:
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(pidfd)


def _listen(request: dict[str, Any]) -> socket.socket:
    path = request["socket"]
    directory, _, name = path.rpartition("/")
    if os.path.lexists(path):
        os.unlink(path)  # of a shim that was killed: the engine holds this container's lock and knows it is stopped
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.bind(unix.address(directory_fd, name))
        listener.listen(16)
    finally:
        os.close(directory_fd)
    return listener


def rehearse(directory: str) -> None:
    """Run the code of a shim's life in the launcher, on scratch files, before any fork.

    Python 3.11 specialises bytecode and fills caches by writing into pages that a fork shares; done once before
    the fork they stay shared, about 80 KB less private memory for each shim.
    """
    log = stdio.Log(directory, 2**20, 3)
    read_end, both = stdio.open_pipe(0)
    pump = stdio.Pump(log, stdio.STDOUT, read_end)
    for _ in range(200):
        os.write(both, b"warm\n")
        pump.move()
    left, right = socket.socketpair()
    for _ in range(50):
        protocol.send(left, {"op": "wait", "time": time.time_ns(), "nested": {"limits": [1, 2.5, None]}})
        protocol.receive(right)
    json.loads(json.dumps({"warm": True}))
    left.close()
    right.close()
    log.close()
    os.close(read_end)
    os.close(both)
