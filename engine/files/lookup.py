"""Paths of a container, looked up in the worker: its root is all there is, whatever the links in it say."""

from __future__ import annotations

import errno
import os
import stat

from engine.archives.collect import KERNELS_OWN
from engine.archives.tar import printable
from engine.errors import InvalidRequest
from engine.linux import files

_IN_ROOT = files.IN_ROOT | files.NO_MAGICLINKS
_MAX_LINKS = 40  # the kernel's own; path_resolution(7)


def encoded(path: str) -> bytes:
    """A path as the kernel knows it; bytes that are no text came as os.fsdecode gives them."""
    return path.encode(errors="surrogateescape")


def find(path: str | bytes, flags: int) -> int:
    """Open a path."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        wanted = encoded(path) if isinstance(path, str) else path
        return files.openat2(root, wanted or b".", flags, resolve=_IN_ROOT)
    finally:
        os.close(root)


def readable(descriptor: int, path: str | bytes) -> int:
    """The same descriptor, unless it is of a file system that the kernel makes up."""
    if files.filesystem_magic(descriptor) in KERNELS_OWN:
        raise InvalidRequest(f"{_shown(path)} is the kernel's, no file", hint="read it with `exec … cat`", field="path")
    return descriptor


def regular(path: str) -> int:
    """A regular file, links followed, opened for reading. A FIFO or device is looked at, and not opened."""
    place = readable(find(path, os.O_PATH), path)
    try:
        _require_regular(place, path)
    finally:
        os.close(place)
    # What may have taken its place since then cannot hold us up, and is not read either.
    opened = find(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _require_regular(readable(opened, path), path)
    except BaseException:
        os.close(opened)
        raise
    return opened


def _require_regular(descriptor: int, path: str) -> None:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        what = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise InvalidRequest(f"{_shown(path)} is {what}", hint="choose a regular file", field="path")


_KINDS = {
    stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip


def parent(path: str) -> tuple[int, bytes]:
    """The directory that holds a path's last name, and that name. A link there is not followed."""
    before, _, last = encoded(path).rpartition(b"/")
    if last in (b"", b".", b".."):
        raise InvalidRequest(f"{_shown(path)} is no name in a directory", hint="name a file or directory", field="path")
    return readable(find(before + b"/", os.O_PATH | os.O_DIRECTORY), before + b"/"), last


def end(path: str) -> tuple[int, bytes]:
    """The same, of where the links at the path's end lead, which need not exist."""
    for _ in range(_MAX_LINKS):
        directory, name = parent(path)
        try:
            target = os.readlink(name, dir_fd=directory)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):  # EINVAL: it is no link; readlink(2)
                return directory, name
            raise
        os.close(directory)
        before, _, _ = path.rpartition("/")
        path = os.fsdecode(target) if target.startswith(b"/") else f"{before}/{os.fsdecode(target)}"
    raise InvalidRequest(f"{_shown(path)} is a link to itself", hint="check the path", field="path")


def _shown(path: str | bytes) -> str:
    return printable(encoded(path) if isinstance(path, str) else path)
