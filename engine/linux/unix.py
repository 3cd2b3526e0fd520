"""unix(7) sockets."""

from __future__ import annotations

import socket
import struct

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def address(directory_fd: int, name: str) -> str:
    """An address that fits into the 107 bytes of sun_path however deep the directory lies."""
    return f"/proc/self/fd/{directory_fd}/{name}"


def peer(connected: socket.socket) -> int:
    """The pid of who listens at the other end, or made the pair, be it dead by now; SO_PEERCRED."""
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return pid
