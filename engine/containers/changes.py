"""What a container changed of its image."""

from __future__ import annotations

import enum
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from engine.archives.tar import Source


class ChangeKind(enum.StrEnum):
    """Docker's letters ("docker diff")."""

    ADDED = "A"
    CHANGED = "C"
    DELETED = "D"


@dataclass(frozen=True, slots=True)
class Change:
    """A path that differs from the image. What is below a deleted directory is not told."""

    kind: ChangeKind
    path: str  # bytes that are no text as os.fsdecode gives them
    mode: int = 0  # with the file type, as it is now; 0 of what was deleted
    size_bytes: int = 0

    @property
    def is_file(self) -> bool:
        """Whether a regular file is there now."""
        return stat.S_ISREG(self.mode)


def parse(source: Source) -> Iterator[Change]:
    """The changes that `engine.files.upper.changes` writes, as they come."""
    rest = b""
    while data := source.read(2**16):
        *whole, rest = (rest + data).split(b"\0")
        for line in whole:
            kind, mode, size, path = line.split(b" ", 3)
            yield Change(ChangeKind(kind.decode()), path.decode(errors="surrogateescape"), int(mode), int(size))
