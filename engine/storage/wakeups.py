"""The datagram sockets on which processes wait for something to happen."""

from __future__ import annotations

import os
import socket

from engine.linux import unix


def wake(directory: str) -> None:
    """Tell every process that watches events to look. Losing one wake-up is harmless: the truth is in state.db."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(directory):
            try:
                door.sendto(b"!", unix.address(directory_fd, name))
            except ConnectionRefusedError:  # its process is gone
                os.unlink(f"{directory}/{name}")
            except (BlockingIOError, FileNotFoundError):  # it has enough to wake up for; or has just left
                continue
    finally:
        os.close(directory_fd)
        door.close()
