"""Messages between Wharfie's processes: a 4-byte length, then JSON. Both ends are root on this host.

Engine ─▶ launcher   {"op": "start" | "unpack" | "probe", …}       the forked child answers on the same connection
Engine ─▶ shim       {"op": "signal", "signal": N}  ─▶ {"ok": true}
                     {"op": "wait"}                 ─▶ the exit record, when it has ended for good
                     {"op": "rest"}                 ─▶ {"ok": true}: not to be started again
                     {"op": "exec", …}              ─▶ {"pid": N, …} and pipes, later {"exit": …}; `engine.shim.errand`
                     {"op": "toolbox", …}           the same, in a root of its own; `engine.shim.toolbox`
Engine ─▶ terminal   {"op": "attach" | "about" | "end"} ─▶ {…}, then frames; see `engine.shim.terminal`
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

from engine.errors import EngineError
from engine.linux import unix

# Raised with each message that is new or changed. A shim keeps the version that it was started with for its container's
# life, so this is for ever: the keys of a run record that tell who runs (`engine.containers.runs`), "signal" and
# "wait". Who asks takes care of what an older shim does not know; a newer one than who asks is let be.
VERSION = 3
MAX_MESSAGE_BYTES = 4 * 2**20
MAX_FDS = 64
# What reading and answering a client's message may raise: who breaks off or talks nonsense is its own loss, and nobody
# else's. Not raised by what is ours: that has an EngineError.
NONSENSE = (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
TOLD_CHARACTERS = 1024  # of each part of an error: a command's name may be a hundred times that
_LENGTH = struct.Struct("<I")


def send(connection: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    """Send one message; descriptors go along with its first byte (SCM_RIGHTS, unix(7))."""
    data = encode(message)
    if fds:
        sent = socket.send_fds(connection, [data], fds)
        data = data[sent:]
    if data:  # sending nothing is an error too, when the receiver has got all and closed
        connection.sendall(data)


def tell(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send a last message by write(2), which a filter that is loaded already allows where it may refuse all others."""
    data = encode(message)
    while data:
        data = data[os.write(connection.fileno(), data) :]


def brief(error: EngineError) -> dict[str, str]:
    """An error as plain data that fits into one message, however long the names in it are."""
    return {key: value[:TOLD_CHARACTERS] for key, value in error.to_wire().items()}


def exited(status: int) -> dict[str, Any]:
    """A wait status as told: the exit code as a shell has it, and the signal."""
    code = os.waitstatus_to_exitcode(status)
    return {"code": code if code >= 0 else 128 - code, "signal": -code if code < 0 else None}


def encode(message: dict[str, Any]) -> bytes:
    """One message as sent."""
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


def whole(buffer: bytearray) -> dict[str, Any] | None:
    """Take the message off the front of ``buffer``; None while it is not all there."""
    if len(buffer) < _LENGTH.size:
        return None
    end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
    if len(buffer) < end:
        return None
    message: dict[str, Any] = json.loads(buffer[_LENGTH.size : end])
    del buffer[:end]
    return message


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message with its descriptors, or None at the end; EOFError when it is cut short."""
    # Exactly one message and no byte more: on a stream the next one may be there already, with descriptors of its own.
    head, fds, _flags, _address = socket.recv_fds(connection, _LENGTH.size, MAX_FDS, socket.MSG_CMSG_CLOEXEC)
    if not head:
        return None
    try:
        length = _LENGTH.unpack(head + _exactly(connection, _LENGTH.size - len(head)))[0]
        if length > MAX_MESSAGE_BYTES:
            raise EOFError("message too long")
        message: dict[str, Any] = json.loads(_exactly(connection, length))
    except BaseException:
        for descriptor in fds:
            os.close(descriptor)
        raise
    return message, fds


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise EOFError("message cut short")
        data += more
    return data


def listen(path: str) -> socket.socket:
    """A listening socket. It replaces one that a killed process left: who may listen here holds the lock for it."""
    listener = unix.bind(path)
    try:
        listener.listen(16)
    except BaseException:
        listener.close()
        os.unlink(path)
        raise
    return listener
