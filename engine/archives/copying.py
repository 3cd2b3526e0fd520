"""Makes the files of a copy: among others that are there, perhaps while others change them. Runs in the worker.

Unlike a layer's, names mean themselves (`.wh.x` is a file), and what is there is not lightly replaced: a directory
stays when another comes, and takes no file's place nor gives its own to one, as docs.docker.com has it ("docker cp").
A file is written beside its place and moved there when it is whole: nobody sees a half one, and a full disk costs none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat

from engine.archives.extract import Extractor, Parts
from engine.archives.tar import Entry, Kind, Reader, components, printable
from engine.errors import InvalidRequest
from engine.linux.files import openat2
from engine.linux.trees import SAFE

_TEMPORARY = b".wharfie-copy-"


class Copier(Extractor):
    """Unpacks a copy below ``root_fd``.

    ``owner`` replaces every owner. Set-id bits and file capabilities come along with ``set_id`` alone, and never where
    the owner is replaced: they were another's to give.
    ``keep_top`` applies the archive's own entry for its root; else that directory stays as it is.
    """

    def __init__(
        self, root_fd: int, reader: Reader, *, max_bytes: int, owner: tuple[int, int] | None, set_id: bool,
        keep_top: bool,
    ) -> None:  # fmt: skip
        super().__init__(root_fd, reader, max_bytes=max_bytes)
        self._owner = owner
        self._set_id = set_id and owner is None
        self._keep_top = keep_top

    def _place(self, entry: Entry) -> None:
        parts = components(entry.name, entry.label)
        if entry.kind in (Kind.CHARACTER, Kind.BLOCK):
            self.skipped_devices += 1  # the kernel lets nobody make one in a user namespace
        elif parts or entry.kind is not Kind.DIRECTORY or self._keep_top:
            self._place_file(parts, self._owned(entry))

    def _owned(self, entry: Entry) -> Entry:
        if self._owner is not None:
            entry = dataclasses.replace(entry, uid=self._owner[0], gid=self._owner[1])
        if self._set_id:
            return entry
        kept = {name: value for name, value in entry.xattrs.items() if name.startswith("user.")}
        return dataclasses.replace(entry, xattrs=kept, mode=entry.mode & ~(stat.S_ISUID | stat.S_ISGID))

    def _file(self, parent: int, parts: Parts, entry: Entry) -> None:
        temporary = _TEMPORARY + os.urandom(8).hex().encode()
        try:
            super()._file(parent, (*parts[:-1], temporary), entry)
            self._replace(parent, temporary, parts[-1])
        except BaseException:
            with contextlib.suppress(OSError):  # what was met first is what is told
                os.unlink(temporary, dir_fd=parent)
            raise

    def _fifo(self, parent: int, parts: Parts, entry: Entry) -> None:
        """Made with its mode, since the worker has no umask: chmod(2) would follow a link that took its place."""
        name = parts[-1]
        self._make(parent, name, lambda: os.mkfifo(name, entry.mode, dir_fd=parent))
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _replace(self, parent: int, temporary: bytes, name: bytes) -> None:
        try:
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except IsADirectoryError:
            raise _is_directory(name) from None
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise InvalidRequest(
                f"{printable(name)} is mounted there", hint="it is made anew at each start: copy elsewhere"
            ) from None

    def _remove(self, parent: int, name: bytes) -> None:
        try:
            os.unlink(name, dir_fd=parent)
        except IsADirectoryError:
            raise _is_directory(name) from None

    def _open_or_make(self, parent: int, parts: Parts, flags: int) -> int:
        name = parts[-1]
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
        try:
            return openat2(parent, name, flags | os.O_DIRECTORY, resolve=SAFE)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise InvalidRequest(
                f"{printable(name)} is there and no directory, but one is to be copied", hint="remove it first"
            ) from None


def _is_directory(name: bytes) -> InvalidRequest:
    return InvalidRequest(
        f"{printable(name)} is there and a directory, but a file is to be copied", hint="remove it first"
    )
