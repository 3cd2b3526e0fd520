"""The trash of one engine: what is removed is gone by a rename, and deleted behind the answer.

How long a deletion takes is a matter of what a container wrote: seconds for ten gigabytes, and for an empty one still
half of all that its removal costs. Nobody has to wait for that, nor hold a lock.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from engine.storage import atomic


class Trash:
    """Deletes in a thread of its own, one tree after the other. Thread-safe; `close` waits for the last, and so does
    the interpreter at its exit. What a kill leaves here is deleted when a console starts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._behind = ThreadPoolExecutor(1, "trash")

    def discard(self, tree: Path) -> None:
        """Take a tree from its name now, and delete it soon. Absent is fine; OSError when it cannot be renamed."""
        self.delete(atomic.bury(tree, self._path))

    def delete(self, grave: Path | None) -> None:
        """Delete soon what `atomic.bury` gave."""
        if grave is not None:
            with suppress(RuntimeError):  # closed, or the interpreter ends: it is left to the next start
                self._behind.submit(_deleted, grave)

    def empty(self) -> None:
        """Delete what earlier crashes left, and what could not be deleted before. Soon, too: nobody waits for that."""
        for grave in self._path.iterdir():
            if "." not in grave.name:  # else it is a note of somebody's, `atomic.intend`
                self.delete(grave)

    def close(self) -> None:
        """Wait until all is deleted."""
        self._behind.shutdown()


def _deleted(grave: Path) -> None:
    try:
        atomic.delete(grave)
    except Exception as error:  # such as EBUSY below a foreign mount: who removed it cannot help that
        print(f"wharfie: deleting {grave}, tried again at the next start: {error}", file=sys.stderr, flush=True)
