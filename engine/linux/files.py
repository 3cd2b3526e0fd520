"""Files and directories that cannot be raced: openat2(2), statfs(2) magic, inotify(7)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import math
import os
import select
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from engine.linux.syscall import LIBC, Syscall, failure, fd, flags, pointer, size, text

NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT = 0x01, 0x02, 0x04, 0x08, 0x10  # RESOLVE_*
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2

PROC_SUPER_MAGIC = 0x9FA0
SYSFS_MAGIC = 0x62656572
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270
TMPFS_MAGIC = 0x01021994
DEVPTS_SUPER_MAGIC = 0x1CD1
PIPEFS_MAGIC = 0x50495045
OVERLAYFS_SUPER_MAGIC = 0x794C7630
NFS_SUPER_MAGIC = 0x6969
FUSE_SUPER_MAGIC = 0x65735546

LOCK_PAUSE_S = 0.01
LONGEST_MS = 2**31 - 1  # that poll(2) waits

IN_MODIFY, IN_CREATE, IN_ONLYDIR = 0x2, 0x100, 0x01000000

_openat2 = Syscall("openat2", fd, text, pointer, size)
_renameat2 = Syscall("renameat2", fd, text, fd, text, ctypes.c_uint)
_inotify_init1 = Syscall("inotify_init1", flags)
_inotify_add_watch = Syscall("inotify_add_watch", fd, text, ctypes.c_uint32)
_inotify_rm_watch = Syscall("inotify_rm_watch", fd, flags)
_syncfs = Syscall("syncfs", fd)
_fallocate = Syscall("fallocate", fd, ctypes.c_int, ctypes.c_long, ctypes.c_long)
FS_TOPDIR_FL = 0x00020000  # linux/fs.h
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS = 0x80086601, 0x40086602
_FALLOC_FL_KEEP_SIZE = 1
_fstatfs = LIBC["fstatfs"]
_fstatfs.argtypes = (fd, pointer)


class _OpenHow(ctypes.Structure):
    """struct open_how of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(dirfd: int, path: str | bytes, flag: int, *, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2); O_CLOEXEC is always added. ``resolve`` is a sum of the RESOLVE_ constants above."""
    how = _OpenHow(flag | os.O_CLOEXEC, mode, resolve)
    while True:
        try:
            return _openat2(dirfd, os.fsencode(path), ctypes.addressof(how), ctypes.sizeof(how), path=path)
        except BlockingIOError:  # EAGAIN: a rename raced with the lookup; openat2(2) says to try again
            continue


def renameat2(old: int, old_name: bytes, new: int, new_name: bytes, flag: int) -> None:
    """renameat2(2) of a name in one open directory to a name in another; ``flag`` is a RENAME_ constant above, or 0."""
    _renameat2(old, old_name, new, new_name, flag, path=old_name)


@contextmanager
def locked(path: str, wait_s: float = math.inf) -> Iterator[int]:
    """Hold an exclusive flock(2) on a file, made when absent; TimeoutError when it is not to be had in time.

    Whoever is sent the descriptor holds it as well.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if wait_s == math.inf:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            take(descriptor, wait_s)
        yield descriptor
    finally:
        os.close(descriptor)


def take(descriptor: int, wait_s: float, kind: int = fcntl.LOCK_EX) -> None:
    """Take a lock on an open file within this time, which flock(2) has no way to say; TimeoutError when it is not to be
    had."""
    until = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise TimeoutError from None
        time.sleep(LOCK_PAUSE_S)


def content(path: str) -> bytes:
    """A record, or a file of the kernel. Without open(), which takes longer: a second has thousands of these."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while piece := os.read(descriptor, 65536):
            data += piece
        return data
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """write(2) until all is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def replace(path: str, data: bytes) -> None:
    """Replace ``path`` by ``data``, old or new to whoever looks; not flushed to disk."""
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def remove(path: str) -> None:
    """Delete a file; absent is fine."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def directory_beneath(root_fd: int, path: str) -> int:
    """An O_PATH descriptor of a real directory below ``root_fd``, made when absent; no symbolic link is followed.

    For the places in a container's root that mounts go to. A link in the way is ELOOP: an image must not
    redirect /proc, /sys or /dev (CVE-2019-19921, CVE-2023-27561).
    """
    current = os.dup(root_fd)
    try:
        for part in path.strip("/").split("/"):
            try:
                step = openat2(current, part, os.O_PATH | os.O_DIRECTORY, resolve=BENEATH | NO_SYMLINKS | NO_MAGICLINKS)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=current)
                step = openat2(current, part, os.O_PATH | os.O_DIRECTORY, resolve=BENEATH | NO_SYMLINKS | NO_MAGICLINKS)
            os.close(current)
            current = step
    except BaseException:
        os.close(current)
        raise
    return current


def readable(descriptors: Iterable[int], timeout_s: float | None) -> bool:
    """Whether one of them can be read, or its other end is gone, within a time; None waits for that.

    Of any number: select(2) refuses 1024 and above, and a console that measures 200 containers has so many open.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else min(max(0.0, timeout_s * 1000), LONGEST_MS)))


def filesystem_magic(descriptor: int) -> int:
    """The f_type of the file system that a descriptor is on; statfs(2)."""
    buffer = ctypes.create_string_buffer(256)
    if _fstatfs(descriptor, ctypes.addressof(buffer)) != 0:
        raise failure(ctypes.get_errno(), "fstatfs")
    return int(struct.unpack_from("l", buffer)[0]) & 0xFFFFFFFF


def reserve(descriptor: int, length: int) -> None:
    """Have ``length`` bytes of a file on disk without making it longer; FALLOC_FL_KEEP_SIZE, fallocate(2).

    ENOSPC when there is no room. On a file system that cannot do it, nothing happens.
    """
    try:
        _fallocate(descriptor, _FALLOC_FL_KEEP_SIZE, 0, length)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise


def spread(path: str) -> None:
    """Have the directories in this one lie apart on the disk, as people's homes do: FS_TOPDIR_FL, chattr(1) T.

    Else ext4 puts them side by side, and whoever makes a file there looks through the inodes of all that were deleted
    in the last minutes: it does not use them again so soon. Where the file system knows no such thing, nothing happens.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # ENOTTY, EOPNOTSUPP, EPERM in a sandbox: it is a wish, and nothing depends on it
            (now,) = struct.unpack("l", fcntl.ioctl(directory, _FS_IOC_GETFLAGS, bytes(struct.calcsize("l"))))
            fcntl.ioctl(directory, _FS_IOC_SETFLAGS, struct.pack("l", now | FS_TOPDIR_FL))
    finally:
        os.close(directory)


def syncfs(descriptor: int) -> None:
    """syncfs(2): everything written to that file system is on disk on return."""
    _syncfs(descriptor)


class Inotify:
    """One inotify(7) instance; non-blocking. `read` gives (watch, mask) pairs."""

    _HEAD = struct.Struct("iIII")

    def __init__(self) -> None:
        self._fd = _inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """The descriptor, readable when something happened."""
        return self._fd

    def add(self, path: str, mask: int) -> int:
        """Watch a path; returns the watch's number."""
        return _inotify_add_watch(self._fd, os.fsencode(path), mask, path=path)

    def remove(self, watch: int) -> None:
        """End a watch; one that ended by itself (its directory is gone) is fine."""
        try:
            _inotify_rm_watch(self._fd, watch)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise

    def read(self) -> list[tuple[int, int]]:
        """What happened since the last read; [] when nothing did."""
        found = []
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return []
        offset = 0
        while offset < len(data):
            watch, mask, _cookie, length = self._HEAD.unpack_from(data, offset)
            offset += self._HEAD.size + length
            found.append((watch, mask))
        return found

    def close(self) -> None:
        """Close the instance and all its watches."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
