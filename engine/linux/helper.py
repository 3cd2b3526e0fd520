"""A descriptor made by a short-lived process of its own, where the caller must not go: another mount namespace.

Forks: only for a process with one thread.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable


def descriptor(make: Callable[[], int]) -> int:
    """The descriptor that ``make`` returns in a process of its own, or the OSError that it raised there."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        pid = os.fork()
        if pid == 0:
            _help(make, theirs)
        theirs.close()
        try:
            said, descriptors, _flags, _address = socket.recv_fds(ours, 8192, 1, socket.MSG_CMSG_CLOEXEC)
        finally:
            os.waitpid(pid, 0)
    if descriptors:
        return descriptors[0]
    if not said:
        raise OSError(errno.ECHILD, "the helper process was killed")
    raise OSError(*json.loads(said))


def _help(make: Callable[[], int], door: socket.socket) -> None:
    try:
        try:
            socket.send_fds(door, [b"made"], [make()])
        except OSError as error:
            door.send(json.dumps([error.errno, error.strerror, error.filename]).encode())
    finally:
        os._exit(0)  # a mount namespace of its own ends with it; what was made keeps what it needs
