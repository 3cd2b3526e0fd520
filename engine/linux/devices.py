"""Device files: which device one is, and whether the host uses it; inode(7), open(2)."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from engine.linux.syscall import failure


class Node(NamedTuple):
    """A device."""

    kind: str  # c or b
    major: int
    minor: int
    mode: int  # of the host's device file, without its type

    def rule(self, access: str) -> str:
        """As a line of ``devices.allow``; kernel documentation admin-guide/cgroup-v1/devices.rst."""
        return f"{self.kind} {self.major}:{self.minor} {access}"


def node(path: str) -> Node:
    """The device that a path of the host names. OSError: ENODEV when it is none, EBUSY for a disk in use.

    A file system, swap or RAID holds its disk, and that of a partition the whole one: who opens it exclusively learns.
    """
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
            raise failure(errno.ENODEV, "open", path)
        if stat.S_ISBLK(found.st_mode):
            os.close(os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    finally:
        os.close(descriptor)
    kind = "c" if stat.S_ISCHR(found.st_mode) else "b"
    return Node(kind, os.major(found.st_rdev), os.minor(found.st_rdev), stat.S_IMODE(found.st_mode) & 0o666)
