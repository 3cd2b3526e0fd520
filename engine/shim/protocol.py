"""Messages between Wharfie's processes: a 4-byte length, then JSON. Both ends are root on this host.

Engine ─▶ launcher   {"op": "start" | "unpack" | "shutdown", …}    the forked child answers on the same connection
Engine ─▶ shim       {"op": "signal", "signal": N}  ─▶ {"ok": true}
                     {"op": "wait"}                 ─▶ the exit record, when there is one
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

VERSION = 1
MAX_MESSAGE_BYTES = 4 * 2**20
MAX_FDS = 16
_LENGTH = struct.Struct("<I")


def send(connection: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    """Send one message; descriptors go along with its first byte (SCM_RIGHTS, unix(7))."""
    body = json.dumps(message).encode()
    data = _LENGTH.pack(len(body)) + body
    if fds:
        sent = socket.send_fds(connection, [data], fds)
        data = data[sent:]
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message with its descriptors, or None at the end; EOFError when it is cut short."""
    data, fds, _flags, _address = socket.recv_fds(connection, 65536, MAX_FDS)
    if not data:
        return None
    try:
        while len(data) < 4 or len(data) < 4 + _LENGTH.unpack_from(data)[0]:
            if len(data) >= 4 and _LENGTH.unpack_from(data)[0] > MAX_MESSAGE_BYTES:
                raise EOFError("message too long")
            more = connection.recv(65536)
            if not more:
                raise EOFError("message cut short")
            data += more
        message: dict[str, Any] = json.loads(data[4:])
    except BaseException:
        for descriptor in fds:
            os.close(descriptor)
        raise
    return message, fds


def address(directory_fd: int, name: str) -> str:
    """A socket address that fits into 107 bytes however deep the directory lies; unix(7) sun_path."""
    return f"/proc/self/fd/{directory_fd}/{name}"
