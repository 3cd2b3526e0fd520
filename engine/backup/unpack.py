"""A tree of a backup back on disk. The archive is trusted with the owners of files and with nothing else.

By the host's root, who alone may set these owners and overlayfs's marks; so what `engine.archives.extract` promises
counts all the more: no name leads out of the tree, no link is followed, and there are no devices.
"""

from __future__ import annotations

import dataclasses
import os
import stat

from engine.archives.extract import IDS, Extractor, Parts
from engine.archives.fields import broken, refused
from engine.archives.tar import Entry, Kind, Reader, components
from engine.backup import attributes

ALL_IDS = 2**32 - 1  # of a container in the host's user namespace; the last number is no id


class Restorer(Extractor):
    """Unpacks one tree below ``root_fd``. Ids of the range at ``old_base`` move to ``new_base``; others stay, which are
    below ``ids``."""

    def __init__(self, root_fd: int, reader: Reader, *, old_base: int = 0, new_base: int = 0, ids: int = IDS) -> None:
        super().__init__(root_fd, reader, max_bytes=2**63)  # the caller watches the disk
        self._old, self._new, self._ids = old_base, new_base, ids

    def run(self) -> None:
        """Unpack every entry. Unlike in the worker, the process goes on: nothing stays open."""
        try:
            super().run()
        finally:
            self._forget_parent()

    def _place(self, entry: Entry) -> None:
        parts = components(entry.name, entry.label)
        entry = dataclasses.replace(entry, uid=self._shift(entry.uid), gid=self._shift(entry.gid))
        if entry.kind is Kind.CHARACTER and entry.device == (0, 0) and parts:  # overlayfs hides a name so
            parent = self._directory_fd(parts[:-1], entry)
            self._make(parent, parts[-1], lambda: os.mknod(parts[-1], stat.S_IFCHR, 0, dir_fd=parent))
            os.chown(parts[-1], entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        elif entry.kind in (Kind.CHARACTER, Kind.BLOCK):
            raise refused("has a device node", entry.label)
        else:
            self._place_file(parts, entry)

    def _shift(self, number: int) -> int:
        if self._old <= number < self._old + IDS:
            return number - self._old + self._new
        if number < self._ids:
            return number
        raise refused(f"has a file of user or group {number}, which is not its container's")

    def _check_owner(self, entry: Entry) -> None:
        """Shifting has."""

    def _file(self, parent: int, parts: Parts, entry: Entry) -> None:
        if "WHARFIE.data" not in entry.vendor:
            super()._file(parent, parts, entry)
            return
        extents, size = _extents(entry)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = self._make(parent, parts[-1], lambda: os.open(parts[-1], flags, 0o600, dir_fd=parent))
        try:
            os.ftruncate(file, size)
            rest = b""
            chunks = self._reader.chunks()
            for offset, length in extents:
                while length:
                    rest = rest or next(chunks)
                    written = os.pwrite(file, rest[:length], offset)
                    rest, offset, length = rest[written:], offset + written, length - written
            self._finish(file, entry)
            os.utime(file, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(file)

    def _finish(self, descriptor: int, entry: Entry) -> None:
        os.fchown(descriptor, entry.uid, entry.gid)
        os.fchmod(descriptor, entry.mode)
        for name, value in entry.xattrs.items():
            if attributes.kept(name):
                os.setxattr(descriptor, name, attributes.shifted(name, value, self._shift))


def _extents(entry: Entry) -> tuple[list[tuple[int, int]], int]:
    """Where the data of a file with holes go, and its size; Corrupt when they do not fit each other."""
    try:
        size, text = int(entry.vendor["WHARFIE.size"]), entry.vendor["WHARFIE.data"].decode()
        pairs = [pair.split(":") for pair in text.split(",") if pair]
        found = [(int(offset), int(length)) for offset, length in pairs]
    except (KeyError, ValueError) as error:
        raise broken(f"a file's holes cannot be read: {entry.label}") from error
    end = 0
    for offset, length in found:
        if offset < end or length <= 0:
            raise broken(f"a file's holes overlap: {entry.label}")
        end = offset + length
    if end > size or size >= 2**62 or sum(length for _, length in found) != entry.size:
        raise broken(f"a file's holes do not fit its size: {entry.label}")
    return found, size
