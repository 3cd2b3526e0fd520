"""What the keeper has of each running container, so that a shim that is killed takes nothing along.

    starter ── WHARFIE_RUN/custody.sock, a datagram: who, and descriptors ──▶ keeper

The pidfd of its first process, the read ends of its pipes and the host's end of its input. Nobody needs them while all
goes well; with them a new shim goes on where a killed one stopped (`engine.shim.adoption`).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

from engine.linux import unix

_WHO = struct.Struct("<qqB64s")  # shim, first process, how many outputs, id
_MAX_FDS = 8
_PATIENCE_S = 1.0


class Deposit(NamedTuple):
    """What is kept of one container."""

    shim: int  # pid
    pid: int  # of its first process
    id: str
    pidfd: int
    outputs: tuple[int, ...]
    input: int  # or -1

    @classmethod
    def of(cls, shim: int, pid: int, container_id: str, outputs: int, fds: list[int]) -> Deposit:
        """Out of descriptors as they were sent: the pidfd, so many outputs, and an input if one is left."""
        kept = tuple(fds[1 : 1 + outputs])
        return cls(shim, pid, container_id, fds[0], kept, fds[1 + outputs] if len(fds) > 1 + outputs else -1)

    def descriptors(self) -> list[int]:
        """All of them, in the order in which they are sent."""
        return [self.pidfd, *self.outputs, *([self.input] if self.input >= 0 else [])]

    def moved(self, move: Callable[[int], int]) -> Deposit:
        """The same in other descriptors, each of which ``move`` makes of one."""
        return Deposit.of(self.shim, self.pid, self.id, len(self.outputs), [move(each) for each in self.descriptors()])

    def send(self, path: str) -> None:
        """Give it to the keeper, if one is there: the next one collects it from the shim."""
        try:
            with unix.connect(path, socket.SOCK_DGRAM, timeout_s=_PATIENCE_S) as door:
                head = _WHO.pack(self.shim, self.pid, len(self.outputs), self.id.encode())
                socket.send_fds(door, [head], self.descriptors())
        except (FileNotFoundError, ConnectionError, TimeoutError):
            return


def receive(door: socket.socket) -> Deposit | None:
    """The next one; None when there is none, or it is malformed."""
    try:
        head, fds, _flags, _address = socket.recv_fds(door, _WHO.size, _MAX_FDS)
    except BlockingIOError:
        return None
    if len(head) == _WHO.size:
        shim, pid, outputs, container_id = _WHO.unpack(head)
        if len(fds) in (1 + outputs, 2 + outputs):
            return Deposit.of(shim, pid, container_id.decode(), outputs, fds)
    for descriptor in fds:
        os.close(descriptor)
    return None
