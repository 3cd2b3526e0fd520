"""Which directories and files of the host a container may have: the part of `engine.policy` that looks at the host."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from engine.errors import Denied, InvalidRequest
from engine.linux import files
from engine.linux.mount import AT_FDCWD

# Of the host: what no container gets, whole or in part, and what it gets to read only.
PROTECTED = (
    "/proc", "/sys", "/dev", "/run", "/boot", "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh", "/root/.ssh",
    "/var/lib/wharfie-uid-ranges", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers",
)  # fmt: skip
READ_ONLY_SOURCES = ("/bin", "/etc", "/lib", "/lib64", "/sbin", "/usr", "/root")
KERNELS_OWN = (
    files.PROC_SUPER_MAGIC, files.SYSFS_MAGIC, files.CGROUP_SUPER_MAGIC, files.CGROUP2_SUPER_MAGIC,
    files.DEVPTS_SUPER_MAGIC,
)  # fmt: skip


def source(path: str, own: Sequence[str], *, read_only: bool) -> int:
    """An O_PATH descriptor of a directory or file of the host that a container may have; the caller closes it.

    Whoever may bind is root on this host in all but name, so this guards against mistakes and against what no
    container can be given without giving up its walls: the kernel's file systems, devices, control sockets, this
    instance (``own``: its directories), and the host's secrets. Neither these nor anything above or below; and the
    host's programs and settings read-only. Judged by what was opened, not by its name. Denied, or InvalidRequest.
    """
    try:
        found = files.openat2(AT_FDCWD, path, os.O_PATH, resolve=files.NO_MAGICLINKS)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise InvalidRequest(f"{path!r}: {why}", hint="name a directory or file of the host", field="binds") from error
    try:
        _check_source(found, path, own, read_only=read_only)
    except BaseException:
        os.close(found)
        raise
    return found


def _check_source(found: int, path: str, own: Sequence[str], *, read_only: bool) -> None:
    mode = os.fstat(found).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise Denied(f"{path!r} is no directory and no file", hint="devices and sockets are not for containers")
    if files.filesystem_magic(found) in KERNELS_OWN:
        raise Denied(f"{path!r} is the kernel's", hint="a container has its own /proc, /sys and /dev")
    above = _upwards(found)
    for top in (*PROTECTED, *own):
        try:
            guarded = os.open(top, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            beneath = _upwards(guarded)
        finally:
            os.close(guarded)
        if beneath[0] in above or above[0] in beneath:
            raise Denied(f"{path!r} holds or lies in {top}, which is the host's own", hint="bind another directory")
    if not read_only:
        for top in READ_ONLY_SOURCES:
            if os.path.isdir(top) and _identity(os.stat(top)) in above:
                raise Denied(f"{path!r} lies in {top}, which is the host's own", hint="bind it read-only")


def _upwards(descriptor: int) -> list[tuple[int, int]]:
    """What a descriptor points at, and every directory above it up to the root, by device and inode."""
    trail = [_identity(os.fstat(descriptor))]
    name = f"/proc/self/fd/{descriptor}"
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        current = os.dup(descriptor)
    else:
        current = os.open(os.path.dirname(os.readlink(name)), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        trail.append(_identity(os.fstat(current)))
    try:
        while True:
            parent = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=current)
            os.close(current)
            current = parent
            here = _identity(os.fstat(current))
            if here == trail[-1]:
                return trail
            trail.append(here)
    finally:
        os.close(current)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
