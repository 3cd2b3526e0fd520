"""A further process of a running container, and the child of the shim that sees to it. setns(2), shim.md "Exec".

Joining takes one setns(2) with the pidfd of the container's first process. The new process is as confined as that one:
same groups, same identity rules, same capabilities, same filter (`engine.shim.command`). With a toolbox it is in all
but the mount namespace (`engine.shim.toolbox`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NoReturn

from engine.cgroups import manager
from engine.errors import EngineError, KernelError, from_wire
from engine.linux import process, tty
from engine.shim import command, protocol, sharing, stdio, toolbox
from engine.shim.terminal import Terminal

JOINED = (
    process.CLONE_NEWUSER | process.CLONE_NEWNS | process.CLONE_NEWUTS | process.CLONE_NEWIPC | process.CLONE_NEWNET
    | process.CLONE_NEWCGROUP | process.CLONE_NEWTIME
)  # fmt: skip


def run(request: dict[str, Any], client: socket.socket, init_pidfd: int, uid_base: int, group: manager.Group) -> None:
    """Serve one session, in a process forked for it, until its command has ended and the caller knows."""
    try:
        pid, pidfd, held, master = start(request, init_pidfd, uid_base, group)
    except EngineError as error:
        protocol.send(client, {"error": error.to_wire()})
        return
    except OSError as error:
        protocol.send(client, {"error": KernelError.from_os(error, "joining the container").to_wire()})
        return
    about = {
        "pid": pid, "argv": request["argv"], "user": request["user"], "started_at_ns": time.time_ns(),
        "privileged": request.get("privileged", False), "toolbox": request.get("op") == "toolbox",
        "by": request.get("by", ""),
    }  # fmt: skip
    listener = protocol.listen(request["socket"]) if master >= 0 else None
    try:
        protocol.send(client, about, held)
        for descriptor in held:
            os.close(descriptor)
        if listener is not None:
            terminal = Terminal(master, pidfd, listener, about)
            terminal.add(client)
            terminal.serve()
            terminal.farewell(_ended(pid))
        else:
            process.ended(pidfd, None)
            protocol.send(client, {"exit": _ended(pid)})
    except OSError:  # the caller left, which ends nothing: without a terminal, nobody else can come for the code
        _ended(pid)
    finally:
        if listener is not None:
            with contextlib.suppress(FileNotFoundError):  # the container has ended, and its shim was first
                os.unlink(request["socket"])


def _ended(pid: int) -> dict[str, Any]:
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # it was asked before
        return {}
    return {"code": code if code >= 0 else 128 - code, "signal": -code if code < 0 else None}


def start(
    request: dict[str, Any], init_pidfd: int, uid_base: int, group: manager.Group
) -> tuple[int, int, list[int], int]:
    """Its pid and pidfd, the descriptors for the caller (stdin, stdout, stderr, or none), and the terminal's, or -1."""
    held: list[int] = []
    theirs: list[int] = []
    if not request["tty"]:
        if request["stdin"]:
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            os.fchown(read_end, uid_base, uid_base)
        else:
            read_end, write_end = _nowhere(), _nowhere()
        streams = [stdio.open_pipe(uid_base) if request["output"] else (_nowhere(), _nowhere()) for _ in range(2)]
        held, theirs = [write_end, *(ours for ours, _ in streams)], [read_end, *(end for _, end in streams)]
    box = toolbox.made(request, init_pidfd, uid_base) if request.get("op") == "toolbox" else None
    door, its_door = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    groups = group.doors()
    birthplace = group.birthplace()
    process.setns(init_pidfd, process.CLONE_NEWPID)  # of children only
    pid, pidfd = process.clone3(0, cgroup_fd=birthplace)
    if pid == 0:
        door.close()

        def enter() -> None:
            if box is None:
                _join(init_pidfd, uid_base)
            else:
                toolbox.enter(box, request, init_pidfd, uid_base, its_door)

        _become(request, its_door, enter, groups, theirs)
    its_door.close()
    for descriptor in (*groups, *theirs, *(() if birthplace is None else (birthplace,))):
        os.close(descriptor)
    master = -1
    try:
        while True:
            answer = protocol.receive(door)
            if answer is None:
                return pid, pidfd, held, master
            if "error" in answer[0]:
                raise from_wire(answer[0]["error"])
            if answer[1]:
                (master,) = answer[1]
            elif box is not None:
                _seal(door, pidfd, box)
    except BaseException:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        door.close()
        if box is not None:
            box.close()


def _seal(door: socket.socket, pidfd: int, box: toolbox.Toolbox) -> None:
    """Let it go on in a copy of its mount namespace, in which no mount can be taken away."""
    own = os.pidfd_open(os.getpid())
    process.setns(own, process.CLONE_NEWPID)  # who helps with that is not born among the container's processes
    os.close(own)
    namespace = sharing.sealed(pidfd, box.userns)
    protocol.send(door, {"step": "sealed"}, [namespace])
    os.close(namespace)


def _nowhere() -> int:
    return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)


def _join(init_pidfd: int, uid_base: int) -> None:
    """Be where the container's first process is, as its root."""
    # Nobody may join the user namespace that he is in; and only the host's begins with its uid 0.
    process.setns(init_pidfd, JOINED if uid_base else JOINED & ~process.CLONE_NEWUSER)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    process.prctl(process.PR_SET_DUMPABLE, 0)


def _become(
    request: dict[str, Any], door: socket.socket, enter: Callable[[], None], groups: list[int], streams: list[int]
) -> NoReturn:
    """The new process. What fails is told at ``door``; what works is told by its closing at execve."""
    step = "joining the container"

    def at(now: str) -> None:
        nonlocal step
        step = now

    def permit() -> None:
        process.prctl(process.PR_SET_PDEATHSIG, 0)

    try:
        process.prctl(process.PR_SET_DUMPABLE, 0)  # before it is in reach of the container's processes
        manager.write_text("/proc/self/oom_score_adj", request["confinement"]["oom_score_adj"])  # not the shim's
        for group in groups:
            os.write(group, b"0")
        enter()
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
        command.settle(request["confinement"]["capabilities"])
        if request["tty"]:
            master, slave = tty.pair()
            tty.control(slave)
            tty.resize(slave, request["rows"], request["columns"])
            protocol.send(door, {"step": "terminal"}, [master])
            streams = [slave, slave, slave]
        stdin, stdout, stderr = streams
        command.become(request, (stdin, stdout, stderr), at, permit)
    except EngineError as error:
        protocol.tell(door, {"error": error.to_wire()})
    except OSError as error:
        protocol.tell(door, {"error": KernelError.from_os(error, step).to_wire()})
    except BaseException as error:
        protocol.tell(door, {"error": KernelError(f"{step}: {error!r}").to_wire()})
    os._exit(125)
