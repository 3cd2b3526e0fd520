"""The trash of one engine: what is removed is gone by a rename, and deleted behind the answer.

How long a deletion takes is a matter of what a container wrote: seconds for ten gigabytes, and for an empty one still
half of all that its removal costs. Nobody has to wait for that, nor hold a lock.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.storage import atomic


class Trash:
    """Deletes in a thread of its own, one tree after the other. Thread-safe; `close` waits for the last, and so does
    the interpreter at its exit. What a kill leaves here is deleted by `atomic.empty`, when a console starts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._behind = ThreadPoolExecutor(1, "trash")

    def discard(self, tree: Path) -> None:
        """Take a tree from its name now, and delete it soon. Absent is fine; OSError when it cannot be renamed."""
        self.delete(atomic.bury(tree, self._path))

    def delete(self, grave: Path | None) -> None:
        """Delete soon what `atomic.bury` gave."""
        if grave is not None:
            self._behind.submit(_deleted, grave)

    def close(self) -> None:
        """Wait until all is deleted."""
        self._behind.shutdown()


def _deleted(grave: Path) -> None:
    try:
        atomic.delete(grave)
    except OSError as error:  # such as EBUSY below a foreign mount: who removed it cannot help that
        print(f"wharfie: deleting {grave}, tried again at the next start: {error}", file=sys.stderr, flush=True)
