"""What a starter hands over to its shim: bytes and descriptors, of which the shim decodes nothing before it must.

starter ── facts, descriptors ──▶ shim          all that supervising takes
        ── "!" ─────────────────▶               the command has been executed
        ── "E" and the error ───▶               or it has not, and everything is undone
"""

from __future__ import annotations

import _socket
import json
import os
import socket
import struct
from typing import Any, NamedTuple

EXECUTED, FAILED = b"!", b"E"
_HEAD = struct.Struct("<15sBB")  # the shim's name, how many outputs, whether there is a health check
_MAX_BYTES = 65536
_MAX_FDS = 10
_FDS_BYTES = _socket.CMSG_SPACE(4 * _MAX_FDS)


class Handover(NamedTuple):
    """A running container, as its shim gets it. Descriptors; -1 for what there is none of."""

    name: bytes  # of the shim's process
    raw: bytes  # JSON: see `facts`
    checked: bool  # whether it has a health check
    pidfd: int  # of its first process
    root: int  # its overlay
    tree: int  # its mount namespace
    outputs: tuple[int, ...]  # read ends: stdout and stderr, or what its terminal shows
    input: int  # the write end of its standard input, or the host's end of its terminal
    desk: int  # where people sit down in front of its terminal: a listening socket
    exit: int  # the exit record; these three come with the first run of a shim only
    log: int
    listener: int

    def facts(self) -> dict[str, Any]:
        """The run record, with "request", what of it outlives the start, and "log"."""
        decoded: dict[str, Any] = json.loads(self.raw)
        return decoded

    def give(self, shim: socket.socket) -> None:
        """Send it."""
        head = _HEAD.pack(self.name[:15], len(self.outputs), self.checked)
        held = [
            self.pidfd, self.root, self.tree, *self.outputs, self.input, self.desk, self.exit, self.log, self.listener
        ]  # fmt: skip
        present = bytes(descriptor >= 0 for descriptor in held)
        socket.send_fds(shim, [head, bytes([len(held)]), present, self.raw], [each for each in held if each >= 0])


def take(ours: socket.socket) -> Handover | dict[str, Any] | None:
    """Wait for a container; the error when it could not be started, None when the starter just ended."""
    data, ancillary, _flags, _address = ours.recvmsg(_MAX_BYTES, _FDS_BYTES)
    if data[:1] == FAILED and not ancillary:
        return _error(data)
    if not data:
        return None
    name, outputs, checked = _HEAD.unpack_from(data)
    count = data[_HEAD.size]
    at = _HEAD.size + 1
    sent = iter(struct.unpack(f"{len(ancillary[0][2]) // 4}i", ancillary[0][2]))
    pidfd, root, tree, *rest = [next(sent) if there else -1 for there in data[at : at + count]]
    handed = Handover(
        name.rstrip(b"\0"), data[at + count :], bool(checked), pidfd, root, tree, tuple(rest[:outputs]), *rest[outputs:]
    )
    told = ours.recv(_MAX_BYTES)
    if told == EXECUTED:
        return handed
    for descriptor in (pidfd, root, tree, *rest):
        if descriptor >= 0:
            os.close(descriptor)
    return _error(told) if told else None


def refuse(shim: socket.socket, error: dict[str, Any]) -> None:
    """Say that it could not be started."""
    shim.send(FAILED + json.dumps(error).encode())


def _error(data: bytes) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(data[1:])
    return error
