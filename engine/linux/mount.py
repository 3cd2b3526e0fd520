"""Mounts by file descriptor: open_tree(2), move_mount(2), mount_setattr(2), fsopen(2) and their family.

A detached mount is a file descriptor that nobody else can see or race; it becomes part of a tree only
by `move_mount`. `tree`, `filesystem` and `attach` below are the three verbs the rest of Wharfie uses.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from engine.linux.syscall import LIBC, Syscall, failure, fd, flags, pointer, size, text

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 0, 1, 6

RDONLY, NOSUID, NODEV, NOEXEC = 0x1, 0x2, 0x4, 0x8  # MOUNT_ATTR_*
IDMAP = 0x00100000
MS_NODEV, MS_REC, MS_PRIVATE = 1 << 2, 1 << 14, 1 << 18
MNT_DETACH = 2

_open_tree = Syscall("open_tree", fd, text, flags)
_move_mount = Syscall("move_mount", fd, text, fd, text, flags)
_mount_setattr = Syscall("mount_setattr", fd, text, flags, pointer, size)
_fsopen = Syscall("fsopen", text, flags)
_fsconfig = Syscall("fsconfig", fd, flags, text, text, flags)
_fsmount = Syscall("fsmount", fd, flags, flags)
_pivot_root = Syscall("pivot_root", text, text)
_umount2 = Syscall("umount2", text, flags)
_mount = LIBC["mount"]
_mount.argtypes = (text, text, text, ctypes.c_ulong, text)


class _MountAttr(ctypes.Structure):
    """struct mount_attr of linux/mount.h."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def open_tree(dirfd: int, path: str, flag: int) -> int:
    """open_tree(2)."""
    return _open_tree(dirfd, os.fsencode(path), flag, path=path)


def move_mount(from_fd: int, from_path: str, to_fd: int, to_path: str, flag: int) -> None:
    """move_mount(2)."""
    _move_mount(from_fd, os.fsencode(from_path), to_fd, os.fsencode(to_path), flag, path=to_path)


def mount_setattr(
    dirfd: int, path: str, flag: int, *, add: int = 0, clear: int = 0, propagation: int = 0, userns_fd: int = 0
) -> None:
    """mount_setattr(2)."""
    attributes = _MountAttr(add, clear, propagation, userns_fd)
    _mount_setattr(dirfd, os.fsencode(path), flag, ctypes.addressof(attributes), ctypes.sizeof(attributes), path=path)


def mount(source: str, target: str, fstype: str, flag: int = 0, data: str = "") -> None:
    """mount(2)."""
    if _mount(source.encode(), os.fsencode(target), fstype.encode(), flag, data.encode() or None) != 0:
        raise failure(ctypes.get_errno(), "mount", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _pivot_root(os.fsencode(new_root), os.fsencode(put_old), path=new_root)


def umount2(path: str, flag: int = 0) -> None:
    """umount2(2)."""
    _umount2(os.fsencode(path), flag, path=path)


def tree(path: str, *, dirfd: int = AT_FDCWD, add: int = 0, userns_fd: int | None = None) -> int:
    """A detached copy of the mount at ``path``, with attributes added; with ``userns_fd`` idmapped by that namespace.

    Returns a descriptor that the caller closes. An empty path copies what ``dirfd`` itself points at.
    """
    flag = AT_SYMLINK_NOFOLLOW if path else AT_EMPTY_PATH  # what a store holds are directories: a link is a swapped one
    found = open_tree(dirfd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flag)
    try:
        if userns_fd is not None:
            mount_setattr(found, "", AT_EMPTY_PATH, add=add | IDMAP, userns_fd=userns_fd)
        elif add:
            mount_setattr(found, "", AT_EMPTY_PATH, add=add)
    except BaseException:
        os.close(found)
        raise
    return found


def filesystem(fstype: str, options: Iterable[tuple[str, str | None]] = (), *, attributes: int = 0) -> int:
    """A new detached file system: fsopen, fsconfig for each option (None is a flag), fsmount.

    Returns a descriptor that the caller closes. Values over 255 bytes are refused by the kernel (EINVAL).
    """
    context = _fsopen(fstype.encode(), FSOPEN_CLOEXEC, path=fstype)
    try:
        for key, value in options:
            if value is None:
                _fsconfig(context, FSCONFIG_SET_FLAG, key.encode(), None, 0, path=f"{fstype}:{key}")
            else:
                _fsconfig(
                    context, FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0, path=f"{fstype}:{key}={value}"
                )
        _fsconfig(context, FSCONFIG_CMD_CREATE, None, None, 0, path=fstype)
        return _fsmount(context, FSMOUNT_CLOEXEC, attributes, path=fstype)
    finally:
        os.close(context)


def attach(mount_fd: int, target_fd: int) -> None:
    """Put a detached mount on the file or directory that ``target_fd`` (O_PATH) points at. Closes neither."""
    _move_mount(mount_fd, b"", target_fd, b"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)


def enter_root(root: str) -> None:
    """Make ``root``, a mount, the root directory of this mount namespace and detach the old one.

    With "." for both arguments the old root lies on top of the new one for a moment, so that no
    directory is needed for it; pivot_root(2), "pivot_root(".", ".")".
    """
    os.chdir(root)
    pivot_root(".", ".")
    umount2(".", MNT_DETACH)
    os.chdir("/")
