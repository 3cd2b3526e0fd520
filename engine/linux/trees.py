"""Directory trees of any depth: whoever runs in a container nests directories deeper than Python calls functions, and
deeper than there are descriptors. Each step is one name, found BENEATH the directory before, and no link is followed.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from types import TracebackType

from engine.linux.files import BENEATH, NO_MAGICLINKS, NO_SYMLINKS, openat2

SAFE = BENEATH | NO_SYMLINKS | NO_MAGICLINKS
KEPT = 16  # directories on the way that are open; those above are found again by ".."
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Level:
    """A directory on the way down, open or, far above, known by its device and inode."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self._identity = (0, 0)

    def leave(self) -> None:
        if self.descriptor < 0:  # it was left before, on the way to another one below
            return
        found = os.fstat(self.descriptor)
        self._identity = found.st_dev, found.st_ino
        self.close()

    def come_back(self, below: int) -> None:
        """From the one below. OSError (ESTALE) when that was moved meanwhile, and ".." is another one."""
        if self.descriptor >= 0:
            return
        self.descriptor = os.open("..", _DIRECTORY, dir_fd=below)
        found = os.fstat(self.descriptor)
        if (found.st_dev, found.st_ino) != self._identity:
            raise OSError(errno.ESTALE, "it was moved while it was gone through", self.name)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


class Descent:
    """A way down a tree and up again, which begins in the directory ``name`` of ``parent``."""

    def __init__(self, parent: int, name: str | bytes, *, resolve: int = SAFE) -> None:
        """OSError when there is no such directory. ``resolve``: RESOLVE_* flags of openat2(2)."""
        self._parent = parent
        self._resolve = resolve
        self._levels: list[_Level] = []
        self.down(os.fsdecode(name))

    @property
    def here(self) -> int:
        """The directory that one is in, open; at the end the parent."""
        return self._levels[-1].descriptor if self._levels else self._parent

    def down(self, name: str) -> None:
        """Into a directory."""
        self._levels.append(_Level(name, openat2(self.here, name, os.O_RDONLY | os.O_DIRECTORY, resolve=self._resolve)))
        if len(self._levels) > KEPT:
            self._levels[-KEPT - 1].leave()

    def up(self) -> str:
        """Out of the directory, whose name in the one above this is."""
        level = self._levels.pop()
        try:
            if self._levels:
                self._levels[-1].come_back(level.descriptor)
        finally:
            level.close()
        return level.name

    @property
    def ended(self) -> bool:
        """Whether one is back in the parent."""
        return not self._levels

    def __enter__(self) -> Descent:
        return self

    def __exit__(self, *_of: type[BaseException] | BaseException | TracebackType | None) -> None:
        for level in self._levels:
            level.close()


def remove_tree(parent: int, name: str | bytes, *, resolve: int = SAFE) -> None:
    """Remove a directory and all in it. That something of it is gone by itself is fine; OSError (ENOTEMPTY) when
    something comes meanwhile."""
    with Descent(parent, name, resolve=resolve) as way:
        left = [_without_files(way.here)]
        while not way.ended:
            if left[-1]:
                try:
                    way.down(left[-1].pop())
                except (FileNotFoundError, NotADirectoryError):  # it is gone, or another thing by now
                    continue
                left.append(_without_files(way.here))
            else:
                left.pop()
                empty = way.up()
                with suppress(FileNotFoundError):
                    os.rmdir(empty, dir_fd=way.here)


def _without_files(directory: int) -> list[str]:
    """Unlink what is in a directory and is none itself; the directories in it. Once through: whoever goes on to make
    files there could keep us for ever. What is deleted on the way is not missed by it, readdir(3)."""
    inner = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                inner.append(entry.name)
                continue
            with suppress(FileNotFoundError):
                os.unlink(entry.name, dir_fd=directory)
    return inner
