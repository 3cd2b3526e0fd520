"""Look into a container's directories and files, and change them one by one; copies of trees are `Files`' part."""

from __future__ import annotations

import base64
import hashlib
import io
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from engine import policy
from engine.archives.tar import Source
from engine.containers.files import Files, Outgoing
from engine.containers.spec import PathStat
from engine.metrics.spec import TreeSize
from engine.security.spec import ROOT, Caller


@dataclass(frozen=True, slots=True)
class DirectoryEntry(PathStat):
    """A name in a directory; bytes that are no text as os.fsdecode gives them."""

    name: str
    target_mode: int | None = None  # of a link: of what it leads to, in the container; None: nowhere

    @property
    def leads_to_directory(self) -> bool:
        """Whether it is a directory, or a link to one."""
        return self.is_directory or (self.target_mode is not None and stat.S_ISDIR(self.target_mode))

    @property
    def leads_to_file(self) -> bool:
        """Whether it is a regular file, or a link to one: what can be read."""
        return stat.S_ISREG(self.mode) or (self.target_mode is not None and stat.S_ISREG(self.target_mode))


@dataclass(frozen=True, slots=True)
class DirectoryPage:
    """Some of a directory's entries: directories before others, by name."""

    entries: Sequence[DirectoryEntry]
    total: int


@dataclass(frozen=True, slots=True)
class FilePart(PathStat):
    """Some bytes of a file, and what it was when they were read."""

    data: bytes
    offset: int

    @property
    def whole(self) -> bool:
        """Whether this is all of it."""
        return self.offset == 0 and len(self.data) == self.size

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes; of a whole file it is what `Browsing.write` wants told."""
        return hashlib.sha256(self.data).hexdigest()


class Browsing:
    """Paths are absolute, in the container; where its links lead is looked up in it, and nowhere else.

    A worker that sees nothing but these files does it all, and no program of the container's (`engine.files`). As with
    copies, a container that does not run cannot start meanwhile, and whoever may not enter one is Denied.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def list(self, ref: str, path: str, *, first: int = 0, count: int = 200, caller: Caller = ROOT) -> DirectoryPage:
        """``count`` entries of a directory, from ``first`` on."""
        policy.check_part(first, count, policy.MAX_LISTED)
        found = self._files.ask(ref, caller, "list", path=path, first=first, count=count)
        return DirectoryPage([DirectoryEntry(**entry) for entry in found["entries"]], found["total"])

    def measure(self, ref: str, path: str, *, timeout_s: float = 1.0, caller: Caller = ROOT) -> TreeSize:
        """What a directory holds, without what is mounted in it; counted now, as far as the time reaches."""
        return TreeSize(**self._files.ask(ref, caller, "measure", path=path, timeout_s=timeout_s))

    def read(self, ref: str, path: str, *, offset: int = 0, length: int, caller: Caller = ROOT) -> FilePart:
        """Up to ``length`` bytes of a regular file, links followed; InvalidRequest for anything else."""
        policy.check_part(offset, length, policy.MAX_EDIT_BYTES)
        found = self._files.ask(ref, caller, "read", path=path, offset=offset, length=length)
        return FilePart(**found | {"data": base64.b64decode(found["data"]), "offset": offset})

    def content(self, ref: str, path: str, size_bytes: int, *, caller: Caller = ROOT) -> Outgoing:
        """The first ``size_bytes`` of a regular file as a stream, which fails when there are fewer by then."""
        return self._files.outgoing(ref, caller, "content", path=path, size_bytes=size_bytes)

    def write(self, ref: str, path: str, data: bytes, *, expected: str, caller: Caller = ROOT) -> None:
        """Replace a file whose bytes have the SHA-256 ``expected``, in one step; WrongState when it has others now.

        It keeps owner and mode, without set-id bits.
        """
        policy.check_edit(data)
        self._files.incoming(
            ref, caller, "write", io.BytesIO(data), path=path, size_bytes=len(data), expected=expected, replace=True
        )

    def upload(
        self, ref: str, path: str, source: Source, size_bytes: int, *, replace: bool = False, caller: Caller = ROOT
    ) -> None:
        """Make a file of ``size_bytes`` of a source, whole or not at all; it belongs to its directory's owner.

        AlreadyExists unless it may ``replace`` one, whose owner and mode it then gets.
        """
        policy.check_file(path)
        self._files.incoming(
            ref, caller, "write", source, path=path, size_bytes=size_bytes, expected=None, replace=replace
        )

    def make_directory(self, ref: str, path: str, *, caller: Caller = ROOT) -> None:
        """Make a directory, which belongs to its parent's owner."""
        policy.check_file(path)
        self._files.ask(ref, caller, "mkdir", path=path)

    def rename(self, ref: str, path: str, to: str, *, caller: Caller = ROOT) -> None:
        """Give a file or directory another path; AlreadyExists when something is there."""
        policy.check_file(path)
        policy.check_path(to)
        policy.check_file(to)
        self._files.ask(ref, caller, "rename", path=path, to=to)

    def remove(self, ref: str, path: str, *, caller: Caller = ROOT) -> None:
        """Remove a file, a link itself, or a directory with all in it; nothing when something is mounted in there."""
        policy.check_file(path)
        self._files.ask(ref, caller, "remove", path=path)
