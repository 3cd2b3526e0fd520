"""A directory tree as a tar stream, read by descriptor while others may change it. Runs in the worker, or on own files.

What goes away between two looks is left out, a file that shrinks is filled with zeros as tar(1) does, one that grows
is cut: the archive is whole in any case, and the counts say what happened.
"""

from __future__ import annotations

import errno
import os
import stat

from engine.archives.tar import DEPTH, READ_BYTES, Entry, Kind, printable
from engine.archives.write import Writer
from engine.errors import InvalidRequest
from engine.linux import files
from engine.linux.trees import SAFE

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
KERNELS_OWN = (files.PROC_SUPER_MAGIC, files.SYSFS_MAGIC, files.CGROUP_SUPER_MAGIC, files.CGROUP2_SUPER_MAGIC)
_KINDS = {
    stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.SYMLINK, stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER, stat.S_IFBLK: Kind.BLOCK,
}  # fmt: skip


class Collector:
    """Writes files of one tree. ``owner`` replaces every owner; ``one_mount`` leaves out what is mounted below."""

    def __init__(self, writer: Writer, *, owner: tuple[int, int] | None = None, one_mount: bool = False) -> None:
        self._writer = writer
        self._owner = owner
        self._resolve = SAFE | (files.NO_XDEV if one_mount else 0)
        self._linked: dict[tuple[int, int], bytes] = {}  # files with several names -> the first that was written
        self.entries = 0
        self.sockets = 0  # left out: tar has none
        self.changed = 0  # files that others changed or removed at the wrong moment

    def counts(self) -> dict[str, int]:
        """What was written, and what was not."""
        return {"entries": self.entries, "sockets": self.sockets, "changed": self.changed}

    def add(self, parent: int, name: bytes, path: bytes) -> None:
        """The file or directory ``name`` in ``parent``, with all below it, as ``path``."""
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFSOCK:
                self.sockets += 1
            elif self._link(status, path):
                return
            elif kind == stat.S_IFDIR:
                self._directory(parent, name, path, status)
            elif kind == stat.S_IFREG:
                self._file(parent, name, path, status)
            else:
                link = os.readlink(name, dir_fd=parent) if kind == stat.S_IFLNK else b""
                self._write(path, status, link=link)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self.changed += 1

    def content(self, directory: int, path: bytes) -> None:
        """All that is in an open directory, as ``path``/…."""
        if path.count(b"/") >= DEPTH:
            raise InvalidRequest(
                f"there are more than {DEPTH} directories in each other: {printable(path)}",
                hint="copy a part of them",
            )
        for name in sorted(os.listdir(directory)):
            self.add(directory, os.fsencode(name), (path + b"/" if path else b"") + os.fsencode(name))

    def opened(self, descriptor: int, path: bytes) -> None:
        """An open file, or an open directory with all below it, as ``path``."""
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self.directory(descriptor, path)
            if files.filesystem_magic(descriptor) not in KERNELS_OWN:
                self.content(descriptor, path)
        elif stat.S_ISREG(status.st_mode):
            self._write(path, status, xattrs=xattrs(descriptor), size=status.st_size)
            self._data(descriptor, status.st_size)
        else:
            self.changed += 1

    def directory(self, directory: int, path: bytes) -> None:
        """An open directory alone; as ``.`` it speaks of the archive's root."""
        self._write(path, os.fstat(directory), xattrs=xattrs(directory))

    def _directory(self, parent: int, name: bytes, path: bytes, before: os.stat_result) -> None:
        try:
            directory = files.openat2(parent, name, os.O_RDONLY | os.O_DIRECTORY, resolve=self._resolve)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return self._write(path, before)  # the place of a mount
        try:
            self.opened(directory, path)
        finally:
            os.close(directory)

    def _file(self, parent: int, name: bytes, path: bytes, before: os.stat_result) -> None:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW  # it may be a FIFO by now
        try:
            file = files.openat2(parent, name, flags, resolve=self._resolve)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return self._write(path, before, size=0)  # the place of a mount
        try:
            self.opened(file, path)
        finally:
            os.close(file)

    def _data(self, file: int, size: int) -> None:
        while size and (data := os.read(file, min(size, READ_BYTES))):
            self._writer.data(data)
            size -= len(data)
        self.changed += size > 0
        while size:
            self._writer.data(bytes(min(size, READ_BYTES)))
            size -= min(size, READ_BYTES)

    def _link(self, status: os.stat_result, path: bytes) -> bool:
        """Whether this is one more name of a file that was written already; then that is said instead."""
        first = self._linked.get((status.st_dev, status.st_ino))
        if first is None:
            return False
        self._write(path, status, kind=Kind.HARDLINK, link=first)
        return True

    def _write(
        self, path: bytes, status: os.stat_result, *, kind: Kind | None = None, link: bytes | str = b"",
        xattrs: dict[str, bytes] | None = None, size: int = 0,
    ) -> None:  # fmt: skip
        kind = kind or _KINDS[stat.S_IFMT(status.st_mode)]
        uid, gid = self._owner or (status.st_uid, status.st_gid)
        self._writer.entry(
            Entry(
                name=path + b"/" if kind is Kind.DIRECTORY else path,
                kind=kind,
                mode=stat.S_IMODE(status.st_mode),
                uid=uid,
                gid=gid,
                size=size,
                mtime_ns=status.st_mtime_ns,
                link=os.fsencode(link),
                device=(os.major(status.st_rdev), os.minor(status.st_rdev)),
                xattrs=xattrs or {},
            )
        )
        self.entries += 1
        if status.st_nlink > 1 and kind not in (Kind.DIRECTORY, Kind.HARDLINK):  # not before it is in the archive
            self._linked.setdefault((status.st_dev, status.st_ino), path)


def xattrs(descriptor: int) -> dict[str, bytes]:
    """What a file says of itself that an archive can take along; not what overlayfs or this host keeps there."""
    try:
        names = os.listxattr(descriptor)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return {}
        raise
    found = {}
    for name in names:
        kept = name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay."))
        if kept and "=" not in name:  # which a pax record cannot say
            try:
                found[name] = os.getxattr(descriptor, name)
            except OSError as error:
                if error.errno != errno.ENODATA:  # removed since it was listed
                    raise
    return found
