"""What the keeper has of each running container, so that a shim that is killed takes nothing along.

    starter ── WHARFIE_RUN/custody.sock, a datagram: who, and descriptors ──▶ keeper

The pidfd of its first process, the read ends of its pipes and the host's end of its input. Nobody needs them while all
goes well; with them a new shim goes on where a killed one stopped (`engine.shim.adoption`).
"""

from __future__ import annotations

import os
import socket
import struct
from typing import NamedTuple

from engine.linux import unix

_WHO = struct.Struct("<qqBB64s")  # shim, first process, how many outputs, whether there is an input, id
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

    def descriptors(self) -> tuple[int, ...]:
        """All of them."""
        return (self.pidfd, *self.outputs, *((self.input,) if self.input >= 0 else ()))

    def send(self, path: str) -> None:
        """Give it to the keeper, if one is there: the next one collects it from the shim."""
        directory, _, name = path.rpartition("/")
        head = _WHO.pack(self.shim, self.pid, len(self.outputs), self.input >= 0, self.id.encode())
        door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            door.settimeout(_PATIENCE_S)
            door.connect(unix.address(directory_fd, name))
            socket.send_fds(door, [head], list(self.descriptors()))
        except (FileNotFoundError, ConnectionError, TimeoutError):
            return
        finally:
            os.close(directory_fd)
            door.close()


def listen(path: str) -> socket.socket:
    """The keeper's end; it replaces one that a killed keeper left."""
    directory, _, name = path.rpartition("/")
    if os.path.lexists(path):
        os.unlink(path)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        door.bind(unix.address(directory_fd, name))
    finally:
        os.close(directory_fd)
    return door


def receive(door: socket.socket) -> Deposit | None:
    """The next one; None when there is none, or it is malformed."""
    try:
        head, fds, _flags, _address = socket.recv_fds(door, _WHO.size, _MAX_FDS)
    except BlockingIOError:
        return None
    if len(head) == _WHO.size:
        shim, pid, outputs, has_input, container_id = _WHO.unpack(head)
        if len(fds) == 1 + outputs + has_input:
            kept = tuple(fds[1 : 1 + outputs])
            return Deposit(shim, pid, container_id.decode(), fds[0], kept, fds[-1] if has_input else -1)
    for descriptor in fds:
        os.close(descriptor)
    return None
