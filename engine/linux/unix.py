"""unix(7) sockets at paths of any length."""

from __future__ import annotations

import os
import socket
import struct

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def address(directory_fd: int, name: str) -> str:
    """An address that fits into the 107 bytes of sun_path however deep the directory lies."""
    return f"/proc/self/fd/{directory_fd}/{name}"


def connect(path: str, kind: int = socket.SOCK_STREAM, *, timeout_s: float | None = None) -> socket.socket:
    """A socket connected to ``path``; FileNotFoundError or ConnectionRefusedError when nobody is there."""
    directory, _, name = path.rpartition("/")
    door = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            door.settimeout(timeout_s)
            door.connect(address(directory_fd, name))
        finally:
            os.close(directory_fd)
    except BaseException:
        door.close()
        raise
    return door


def bind(path: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A non-blocking socket at ``path``. It replaces one that a killed process left: who may be there holds a lock."""
    directory, _, name = path.rpartition("/")
    if os.path.lexists(path):
        os.unlink(path)
    door = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            door.bind(address(directory_fd, name))
        finally:
            os.close(directory_fd)
    except BaseException:
        door.close()
        raise
    return door


def peer(connected: socket.socket) -> int:
    """The pid of who listens at the other end, or made the pair, be it dead by now; SO_PEERCRED."""
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return pid
