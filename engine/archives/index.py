"""Where the files of a seekable archive lie: for the outer tars of images, which are read out of order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.archives.fields import broken
from engine.archives.tar import ENTRIES, Entry, Kind, Reader, Source, components
from engine.errors import EngineError


class SeekableSource(Source, Protocol):
    """A file that can be read anywhere."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Member:
    """Where a file's data lie in an archive that can be read anywhere."""

    offset: int
    size: int


class _Seeking(Reader):
    def __init__(self, file: SeekableSource, entries: int) -> None:
        super().__init__(file, end_marker=False, entries=entries)
        self._file = file
        self._size = file.seek(0, 2)
        file.seek(0)

    def skip(self) -> None:
        end = self.offset + self._left + self._padding
        if end > self._size:
            raise broken("it ends in the middle of a file")
        if end != self.offset:
            self.offset = self._file.seek(end)
        self._left = self._padding = 0


class Index:
    """The files of a seekable archive by name, links followed within it; for the outer tars of images.

    Old `docker save` writes a layer twice used as a symbolic link; a link here only leads to another key,
    never to a file of the host. ``complete`` is False when the archive has more than ``entries`` entries.
    """

    def __init__(self, file: SeekableSource, *, entries: int = 20_000) -> None:
        self._members: dict[bytes, Member] = {}
        self._links: dict[bytes, bytes] = {}
        self.complete = True
        self.entries = 0
        reader = _Seeking(file, ENTRIES)
        for count, entry in enumerate(reader):
            if count == entries:
                self.complete = False
                return
            self._add(entry, reader.offset)
            self.entries += 1

    def _add(self, entry: Entry, offset: int) -> None:
        try:
            parts = components(entry.name, entry.label)
        except EngineError:
            return  # the index only finds things: what it cannot name cannot be asked for
        name = b"/".join(parts)
        self._members.pop(name, None)
        self._links.pop(name, None)
        if entry.kind is Kind.FILE:
            self._members[name] = Member(offset, entry.size)
        elif entry.kind is Kind.HARDLINK:
            self._links[name] = entry.link
        elif entry.kind is Kind.SYMLINK and not entry.link.startswith(b"/"):
            self._links[name] = b"/".join((*parts[:-1], entry.link))

    def find(self, name: str) -> Member | None:
        """The file of that name, or None."""
        key = _lexical(name.encode())
        for _ in range(8):
            if key in self._members:
                return self._members[key]
            if key not in self._links:
                return None
            key = _lexical(self._links[key])
        return None


def _lexical(path: bytes) -> bytes:
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            parts[-1:] = []
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)
