"""How a container's first process is born, before its request is known or for it; and the starter's end of its door."""

from __future__ import annotations

import errno
import os
import signal
import socket
from typing import Any, NamedTuple

from engine.cgroups import manager
from engine.errors import EngineError, KernelError, from_wire
from engine.linux import pidfds, process
from engine.shim import command, init, mounts, protocol, sharing

AFTER_KILL_S = 10.0
DIED = "the container's first process died while it was set up"
# What every container has of its own; of the others see `engine.shim.sharing`.
NAMESPACES = process.CLONE_NEWNS | process.CLONE_NEWTIME
USUAL = mounts.Birth(sum(sharing.KINDS.values()), command.CAPABILITIES, {})


class Init(NamedTuple):
    """The first process of a container to be, which waits for its request."""

    pid: int
    pidfd: int
    door: socket.socket

    @classmethod
    def born(cls, birth: mounts.Birth, birthplace: int | None = None) -> Init:
        """A new one, in namespaces of its own, or those that the caller is in."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        pid, pidfd = process.clone3(NAMESPACES | birth.own | process.CLONE_PARENT, cgroup_fd=birthplace)
        if pid == 0:
            ours.close()
            init.run(theirs, birth)
        theirs.close()
        return cls(pid, pidfd, ours)

    def seal(self, userns: int) -> int:
        """Once it has built its tree, move it to where that cannot be taken apart; returns its mount namespace."""
        self._step()
        namespace = sharing.sealed(self.pidfd, userns)
        protocol.send(self.door, {"step": "sealed"}, [namespace])
        return namespace

    def execute(self) -> None:
        """Let it execute the command, and wait until it has; raises what it met."""
        self._step()  # it dies no more with its shim: from here on its end of the door closes when it executes
        protocol.send(self.door, {"step": "execute"})
        answer = protocol.receive(self.door)
        if answer is not None:
            raise from_wire(answer[0])

    def terminal(self) -> int:
        """The host's end of its terminal; raises what it met before it had one."""
        return self._step()[0]

    def _step(self) -> list[int]:
        """Wait until it has got to the next one; the descriptors that come with that. Raises what it met instead."""
        answer = protocol.receive(self.door)
        if answer is None:
            raise KernelError(DIED)
        if "step" not in answer[0]:
            raise from_wire(answer[0])
        return answer[1]

    def last_words(self, error: OSError) -> EngineError | None:
        """What it died of, if that is why ``error`` was met; None when it is still there."""
        # One that is ending has no namespaces in /proc any more, a moment before it counts as ended.
        ending = error.errno in (errno.ENOENT, errno.ESRCH) and str(error.filename).startswith(f"/proc/{self.pid}/")
        if not isinstance(error, ConnectionError) and not pidfds.ended(self.pidfd, 1 if ending else 0):
            return None
        try:
            answer = protocol.receive(self.door)
        except (EOFError, ConnectionError):
            answer = None
        return from_wire(answer[0]) if answer and "step" not in answer[0] else KernelError(DIED)

    def end(self) -> None:
        """Kill it and all that it has begun; on return it is dead, though its parent has not reaped it yet."""
        self.door.close()
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return
        pidfds.ended(self.pidfd, AFTER_KILL_S)


def prepared() -> Init | None:
    """An init that will do for most requests; None where one must be born in its control group."""
    return None if manager.births() else Init.born(USUAL)


def chosen(request: dict[str, Any], group: manager.Group, ready: Init | None) -> Init:
    """The one that is ready, if it will do for this request; else a new one."""
    capabilities = request["confinement"]["capabilities"]
    own = sharing.own(request["namespaces"])
    if ready is not None:
        if own == USUAL.own and not capabilities & ~USUAL.capabilities:
            return ready
        ready.end()
    birthplace = group.birthplace()
    try:
        with sharing.joined(request["namespaces"]) as shown:
            return Init.born(mounts.Birth(own, capabilities, shown), birthplace)
    finally:
        if birthplace is not None:
            os.close(birthplace)
