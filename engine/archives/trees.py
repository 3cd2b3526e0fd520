"""What directory trees hold, counted by descriptor: containers write in them meanwhile."""

from __future__ import annotations

import errno
import os
import stat
import time

BLOCK = 512  # bytes of st_blocks, whatever the file system's own; stat(2)
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # removed, or another thing by now
DEEPEST = 200  # directories; each costs a descriptor while one is inside. What lies deeper is not counted


class TreeCount:
    """Adds up what trees hold, hard links once, until its time is over.

    Containers write in some of them: each step is one name from a descriptor, and no link is followed.
    """

    def __init__(self, timeout_s: float = float("inf")) -> None:
        self._until_s = time.monotonic() + timeout_s
        self._seen: set[tuple[int, int]] = set()
        self.bytes = self.entries = 0
        self.whole = True

    def add(self, directory: int) -> None:
        """A directory with all below it; closes it."""
        facts = os.fstat(directory)
        self.bytes += facts.st_blocks * BLOCK
        self._below(directory, facts.st_dev, DEEPEST)

    def _below(self, directory: int, device: int, deeper: int) -> None:
        """What is in a directory; closes it. Other file systems that are mounted there are not this disk's."""
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if time.monotonic() > self._until_s:
                        self.whole = False
                        return
                    try:
                        facts = entry.stat(follow_symlinks=False)
                        if facts.st_dev != device:
                            continue
                        self.entries += 1
                        if not self._again(facts):
                            self.bytes += facts.st_blocks * BLOCK
                        if stat.S_ISDIR(facts.st_mode) and deeper:
                            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                            self._below(os.open(entry.name, flags, dir_fd=directory), device, deeper - 1)
                    except OSError as error:
                        if error.errno not in GONE:
                            raise
        finally:
            os.close(directory)

    def _again(self, facts: os.stat_result) -> bool:
        """Whether it was counted under another name."""
        if stat.S_ISDIR(facts.st_mode) or facts.st_nlink < 2:
            return False
        known = (facts.st_dev, facts.st_ino) in self._seen
        self._seen.add((facts.st_dev, facts.st_ino))
        return known
