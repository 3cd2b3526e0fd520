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
from typing import Any, NoReturn

from engine.cgroups import manager
from engine.errors import EngineError, KernelError, from_wire
from engine.linux import pidfds, process, tty
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
        try:
            protocol.send(client, about, held)
        except OSError:
            if listener is None:
                raise
            # A terminal is there for whoever comes next, to use it or to hang up; who left is dropped as others are.
        for descriptor in held:
            os.close(descriptor)
        if listener is not None:
            terminal = Terminal(master, pidfd, listener, about)
            terminal.add(client)
            terminal.serve()
            terminal.farewell(_ended(pid))
        else:
            pidfds.ended(pidfd, None)
            protocol.send(client, {"exit": _ended(pid)})
    except OSError:  # the caller left, which ends nothing: without a terminal, nobody else can come for the code
        _ended(pid)
    finally:
        if listener is not None:
            with contextlib.suppress(FileNotFoundError):  # the container has ended, and its shim was first
                os.unlink(request["socket"])


def _ended(pid: int) -> dict[str, Any]:
    try:
        return protocol.exited(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # it was asked before
        return {}


class Joining:
    """A process on its way into a container, until it executes its command."""

    def __init__(self, request: dict[str, Any], init_pidfd: int, uid_base: int, group: manager.Group) -> None:
        """It is born. Raises EngineError and OSError, which leave nothing behind."""
        self.held: list[int] = []  # for the caller: its stdin, stdout and stderr, or none
        self.master = -1  # of its terminal, once it has one
        self._box: toolbox.Toolbox | None = None
        theirs: list[int] = []
        self.door, its_door = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if not request["tty"]:
                self._open_streams(request, uid_base, theirs)
            if request.get("op") == "toolbox":
                self._box = toolbox.made(request, init_pidfd, uid_base)
            self.pid, self.pidfd = _born(init_pidfd, group)
            if self.pid == 0:
                _become(request, its_door, init_pidfd, uid_base, self._box, group, theirs)
        except BaseException:
            self.close()
            for descriptor in self.held:
                os.close(descriptor)
            raise
        finally:
            its_door.close()
            for descriptor in theirs:
                os.close(descriptor)

    def _open_streams(self, request: dict[str, Any], uid_base: int, theirs: list[int]) -> None:
        if request["stdin"]:
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            self.held.append(write_end)
            theirs.append(read_end)
            os.fchown(read_end, uid_base, uid_base)
        else:
            self.held.append(_nowhere())
            theirs.append(_nowhere())
        for _ in range(2):
            if request["output"]:
                ours, end = stdio.open_pipe(uid_base)
                self.held.append(ours)
                theirs.append(end)
            else:
                self.held.append(_nowhere())
                theirs.append(_nowhere())

    def step(self) -> bool:
        """Take its next message, once it is there; True when it has executed its command.

        Raises EngineError when it has not, and ends: to reap it is up to the caller.
        """
        answer = protocol.receive(self.door)
        if answer is None:
            return True
        message, descriptors = answer
        if "error" in message:
            raise from_wire(message["error"])
        if descriptors:
            (self.master,) = descriptors
        elif self._box is not None:
            _seal(self.door, self.pidfd, self._box)
        return False

    def close(self) -> None:
        """What was of use on the way; what the caller gets stays open."""
        self.door.close()
        if self._box is not None:
            self._box.close()
            self._box = None


def start(
    request: dict[str, Any], init_pidfd: int, uid_base: int, group: manager.Group
) -> tuple[int, int, list[int], int]:
    """Its pid and pidfd, the descriptors for the caller (stdin, stdout, stderr, or none), and the terminal's, or -1."""
    joining = Joining(request, init_pidfd, uid_base, group)
    try:
        while not joining.step():
            continue
    except BaseException:
        signal.pidfd_send_signal(joining.pidfd, signal.SIGKILL)
        os.waitpid(joining.pid, 0)
        raise
    finally:
        joining.close()
    return joining.pid, joining.pidfd, joining.held, joining.master


def _born(init_pidfd: int, group: manager.Group) -> tuple[int, int]:
    """clone3(2) into the container's pid namespace; all else that the caller forks stays in its own."""
    own = os.pidfd_open(os.getpid())
    birthplace: int | None = None
    try:
        birthplace = group.birthplace()
        process.setns(init_pidfd, process.CLONE_NEWPID)  # of children only
        pid = -1
        try:
            pid, pidfd = process.clone3(0, cgroup_fd=birthplace)
            return pid, pidfd
        finally:
            if pid:  # not in the child
                process.setns(own, process.CLONE_NEWPID)
    finally:
        os.close(own)
        if birthplace is not None:
            os.close(birthplace)


def _seal(door: socket.socket, pidfd: int, box: toolbox.Toolbox) -> None:
    """Let it go on in a copy of its mount namespace, in which no mount can be taken away."""
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
    request: dict[str, Any], door: socket.socket, init_pidfd: int, uid_base: int, box: toolbox.Toolbox | None,
    group: manager.Group, streams: list[int],
) -> NoReturn:  # fmt: skip
    """The new process. What fails is told at ``door``; what works is told by its closing at execve."""
    step = "joining the container"

    def at(now: str) -> None:
        nonlocal step
        step = now

    def permit() -> None:
        process.prctl(process.PR_SET_PDEATHSIG, 0)

    try:
        process.close_all_but(init_pidfd, door.fileno(), *streams, *(box or ()))
        process.prctl(process.PR_SET_DUMPABLE, 0)  # before it is in reach of the container's processes
        manager.write_text("/proc/self/oom_score_adj", request["confinement"]["oom_score_adj"])  # not the shim's
        for way_in in group.doors():
            os.write(way_in, b"0")
            os.close(way_in)
        if box is None:
            _join(init_pidfd, uid_base)
        else:
            toolbox.enter(box, request, init_pidfd, uid_base, door)
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
        _refuse(door, error)
    except OSError as error:
        _refuse(door, KernelError.from_os(error, step))
    except BaseException as error:
        _refuse(door, KernelError(f"{step}: {error!r}"))
    finally:
        os._exit(125)  # whatever comes: what called this is the shim's code


def _refuse(door: socket.socket, error: EngineError) -> None:
    """In one piece: a process that is stopped between two would stop who reads it."""
    protocol.tell(door, {"error": protocol.brief(error)})
