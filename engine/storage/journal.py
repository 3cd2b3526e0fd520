"""What is to be undone when whoever does something is killed in the middle of it: notes in a file of their own.

The doer holds the file locked, and takes it away at its end, however that was. The kernel lets go of the lock with the
process: notes that nobody holds are of one that was killed, and whoever tidies up undoes them.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.linux import files
from engine.names import new_id

FILE = "file"  # the kind for files beside the journal, by name

Note = dict[str, Any]


@contextmanager
def journal(directory: Path, kind: str) -> Iterator[Callable[..., None]]:
    """Inside, what is called with a note has it on disk on return; call it before the deed."""
    while True:
        path = directory / f"{kind}-{new_id()}.journal"
        with files.locked(str(path)) as descriptor:
            if not os.fstat(descriptor).st_nlink:  # somebody tidied up before it was locked
                continue

            def note(**words: Any) -> None:
                files.write_all(descriptor, f"{json.dumps(words)}\n".encode())
                os.fsync(descriptor)

            try:
                yield note
            finally:
                path.unlink()
            return


def left(directory: Path, kind: str) -> Iterator[list[Note]]:
    """The notes of each that was killed, the last first. They are gone once the caller asks for the next."""
    for path in directory.glob(f"{kind}-*.journal"):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            whole = path.read_bytes().split(b"\n")[:-1]  # the last may be half
            yield [json.loads(line) for line in reversed(whole)]
            path.unlink()
        except BlockingIOError:  # it is being done
            continue
        finally:
            os.close(descriptor)


def forget(directory: Path) -> None:
    """Delete the files that were noted by those who were killed."""
    for notes in left(directory, FILE):
        for note in notes:
            (directory / note["file"]).unlink(missing_ok=True)
