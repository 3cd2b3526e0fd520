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

from engine.errors import EngineError, KernelError
from engine.shim import protocol

EXECUTED, FAILED = b"!", b"E"
# The shim's name, how many outputs, whether there is a health check, and which of the descriptors there are.
_HEAD = struct.Struct("<15sB?B")
_MAX_BYTES = 65536  # of a message; what could be longer stays in the request's file
_FDS = struct.Struct("10i")
_FDS_BYTES = _socket.CMSG_SPACE(_FDS.size)
_USUAL = 0b11100111  # without an input and a desk, as most are


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
        absent = self.pidfd  # stands for what there is none of: a message carries descriptors only
        held = (self.pidfd, self.root, self.tree, self.input, self.desk, self.exit, self.log, self.listener)
        present = sum(1 << place for place, descriptor in enumerate(held) if descriptor >= 0)
        head = _HEAD.pack(self.name[:15], len(self.outputs), self.checked, present)
        if len(self.raw) > _MAX_BYTES - _HEAD.size:  # it would get a part of it, and know nothing
            raise KernelError("what its shim has to know is too long", hint="use shorter names and paths")
        sent = [descriptor if descriptor >= 0 else absent for descriptor in held]
        outputs = (*self.outputs, absent, absent)[:2]
        socket.send_fds(shim, [head, self.raw], [*sent, *outputs])


def take(ours: _socket.socket) -> Handover | dict[str, Any] | None:
    """Wait for a container; the error when it could not be started, None when the starter just ended.

    Straight on and without a loop: every object that a shim touches is counted in a page of its own for its whole life.
    """
    data, ancillary, _flags, _address = ours.recvmsg(_MAX_BYTES, _FDS_BYTES)
    if not ancillary:
        return _error(data) if data else None
    held = _FDS.unpack(ancillary[0][2])
    name, outputs, checked, present = _HEAD.unpack_from(data)
    told = ours.recv(_MAX_BYTES)
    if told != EXECUTED:
        for descriptor in held:
            os.close(descriptor)
        return _error(told) if told else None
    pidfd, root, tree, given, desk, ended, log, listener, *pipes = held
    if present == _USUAL and outputs == 2:
        given, desk = _closed(given), _closed(desk)
    else:
        pidfd, root, tree, given, desk, ended, log, listener = [
            descriptor if present >> place & 1 else _closed(descriptor) for place, descriptor in enumerate(held[:8])
        ]
        pipes = [pipe if place < outputs else _closed(pipe) for place, pipe in enumerate(pipes)]
        pipes = pipes[:outputs]
    return Handover(
        name, data[_HEAD.size :], checked, pidfd, root, tree, tuple(pipes), given, desk, ended, log, listener
    )


def _closed(descriptor: int) -> int:
    os.close(descriptor)
    return -1


def refuse(shim: socket.socket, error: EngineError) -> None:
    """Say that it could not be started."""
    shim.send(FAILED + json.dumps(protocol.brief(error)).encode())


def _error(data: bytes) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(data[1:])
    return error
