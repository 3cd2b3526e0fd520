"""A directory tree as a tar, with all that a container's files have: owners, times, links, attributes, holes.

The tree may be a running container's, who could put a symbolic link where a directory was: each name is opened once,
relative to its directory and without following links, and what was opened is what is read.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from engine.archives.fields import INT64
from engine.archives.tar import BLOCK, COMPONENT_BYTES, DEPTH, NAME_BYTES, PAX_BYTES, READ_BYTES, printable
from engine.backup import attributes
from engine.backup.unpack import ALL_IDS

MAX_EXTENTS = 2000  # of one file; they must fit into its extended header
ATTRIBUTES_BYTES = PAX_BYTES - 2**17  # of one file, for the same reason: names and extents need the rest
NOTES = 100
_KINDS = {
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
}

Extents = list[tuple[int, int]]  # offset and length of data


class Packer:
    """Writes one tree. ``notes`` tells what is not as it was: skipped, or changed while it was read."""

    def __init__(self, out: BinaryIO, ids: int = ALL_IDS) -> None:
        """Whose ids are not below ``ids`` is given to root, and noted."""
        self._out = out
        self._ids = ids
        self._links: dict[tuple[int, int], str] = {}
        self.notes: list[str] = []

    def run(self, top: int, skip: frozenset[str] = frozenset(), only: frozenset[str] | None = None) -> None:
        """All below the directory ``top``, itself too; of its own entries without ``skip``, or ``only`` these."""
        self._add(top, ".")
        names = sorted(os.listdir(top))
        for name in names:
            if name not in skip and (only is None or name in only):
                self._walk(top, name)
        self._out.write(bytes(2 * BLOCK))

    def _walk(self, top: int, first: str) -> None:
        """Depth first, without recursion: a container may nest deeper than Python."""
        found = self._enter(top, first, first)
        stack = [found] if found else []
        try:
            while stack:
                directory, path, names = stack[-1]
                name = next(names, None)
                if name is None:
                    os.close(directory)
                    stack.pop()
                elif entered := self._enter(directory, name, f"{path}/{name}"):
                    stack.append(entered)
        finally:
            for directory, _path, _names in stack:
                os.close(directory)

    def _enter(self, parent: int, name: str, path: str) -> tuple[int, str, Iterator[str]] | None:
        """Add one entry; for a directory what is below it."""
        raw = os.fsencode(path)
        if len(raw) > NAME_BYTES or path.count("/") >= DEPTH or len(os.fsencode(name)) > COMPONENT_BYTES:
            self._note("nested too deep", path)
            return None
        try:
            entry = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except FileNotFoundError:  # removed since it was listed
            return None
        try:
            if not self._add(entry, path):
                return None
            opened = os.open(f"/proc/self/fd/{entry}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        finally:
            os.close(entry)
        return opened, path, iter(sorted(os.listdir(opened)))

    def _add(self, entry: int, path: str) -> bool:
        """Write one entry; True for a directory."""
        facts = os.fstat(entry)
        kind = _KINDS.get(stat.S_IFMT(facts.st_mode))
        if kind is None or (kind == tarfile.CHRTYPE and facts.st_rdev):
            self._note("a socket or a device", path)
            return False
        info = tarfile.TarInfo(path)
        info.type, info.mode = kind, stat.S_IMODE(facts.st_mode)
        time_ns = min(max(facts.st_mtime_ns, -INT64), INT64 - 1)  # a file system may count on, utimensat(2) does not
        if time_ns != facts.st_mtime_ns:
            self._note("a time that cannot be given back", path)
        info.uid, info.gid = (number if number < self._ids else 0 for number in (facts.st_uid, facts.st_gid))
        if (info.uid, info.gid) != (facts.st_uid, facts.st_gid):
            self._note("a user or group that no container has any more", path)
        info.mtime = time_ns // 10**9
        headers = {"mtime": _seconds(time_ns)}
        info.pax_headers = headers
        if kind == tarfile.SYMTYPE:
            info.linkname = os.readlink("", dir_fd=entry)
        else:
            headers |= self._attributes(entry, path)
        if kind not in (tarfile.DIRTYPE, tarfile.CHRTYPE) and facts.st_nlink > 1:  # whiteouts share an inode: no wish
            first = self._links.setdefault((facts.st_dev, facts.st_ino), path)
            if first != path:
                info.type, info.linkname = tarfile.LNKTYPE, first
                self._head(info)
                return False
        if kind == tarfile.REGTYPE:
            self._file(entry, info, facts)
        else:
            self._head(info)
        return kind == tarfile.DIRTYPE

    def _attributes(self, entry: int, path: str) -> dict[str, str]:
        found, room = {}, ATTRIBUTES_BYTES
        for name, value in attributes.read(f"/proc/self/fd/{entry}"):
            size = len(value) + 2 * COMPONENT_BYTES
            if size > room or any("\ud800" <= letter <= "\udfff" for letter in name):  # of a pax record it is UTF-8
                self._note("an attribute", path)
                continue
            room -= size
            found[f"SCHILY.xattr.{name}"] = value.decode("utf-8", "surrogateescape")
        return found

    def _head(self, info: tarfile.TarInfo) -> None:
        self._out.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _file(self, entry: int, info: tarfile.TarInfo, facts: os.stat_result) -> None:
        file = os.open(f"/proc/self/fd/{entry}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME)
        try:
            extents: Extents = [(0, facts.st_size)] if facts.st_size else []
            if facts.st_blocks * 512 < facts.st_size:
                extents = data_extents(file, facts.st_size)
                holes = ",".join(f"{offset}:{length}" for offset, length in extents)
                info.pax_headers = dict(info.pax_headers) | {"WHARFIE.size": str(facts.st_size), "WHARFIE.data": holes}
            info.size = sum(length for _, length in extents)
            self._head(info)
            whole = True
            for offset, length in extents:
                whole = self._data(file, offset, length) and whole
            self._out.write(bytes(-info.size % BLOCK))
            after = os.fstat(file)
            if not whole or (after.st_size, after.st_mtime_ns) != (facts.st_size, facts.st_mtime_ns):
                self._note("changed while it was read", info.name)
        finally:
            os.close(file)

    def _data(self, file: int, offset: int, length: int) -> bool:
        """One extent; what a file lost since its header was written is filled with zeros, and False."""
        while length:
            data = os.pread(file, min(length, READ_BYTES), offset)
            if not data:
                while length:
                    length -= self._out.write(bytes(min(length, READ_BYTES)))
                return False
            self._out.write(data)
            offset += len(data)
            length -= len(data)
        return True

    def _note(self, why: str, path: str) -> None:
        if len(self.notes) < NOTES:
            self.notes.append(f"{why}: {printable(os.fsencode(path))}")


def data_extents(file: int, size: int) -> Extents:
    """Where a file has data, lseek(2) SEEK_DATA; small gaps count as data when there are too many."""
    found: Extents = []
    offset = 0
    while offset < size:
        try:
            start = os.lseek(file, offset, os.SEEK_DATA)
            offset = min(os.lseek(file, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno != errno.ENXIO:  # no more data, or it has just been cut shorter
                raise
            break
        if start < offset:
            found.append((start, offset - start))
    if len(found) > MAX_EXTENTS:
        first, last = found[MAX_EXTENTS - 1][0], found[-1]
        found[MAX_EXTENTS - 1 :] = [(first, sum(last) - first)]
    return found


def _seconds(time_ns: int) -> str:
    seconds, rest = divmod(abs(time_ns), 10**9)
    return f"{'-' if time_ns < 0 else ''}{seconds}.{rest:09d}"
