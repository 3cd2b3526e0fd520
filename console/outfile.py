"""A file that a command writes for somebody: there when it is whole, and not before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from engine.errors import KernelError
from engine.names import new_id


@contextmanager
def outfile(name: str, what: str) -> Iterator[BinaryIO]:
    """Written beside its place and moved there at the end, safe on the disk; else nothing is left, and what was there
    stays. A pipe or a device is written to as it is. KernelError says that ``what`` could not be written."""
    path = Path(os.path.realpath(name))
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as out:
                yield out
            return
        temporary = path.with_name(f".{path.name}.{new_id()[:8]}")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
            try:
                yield out
                out.flush()
                os.fsync(out.fileno())
                temporary.rename(path)
            except BaseException:
                temporary.unlink()
                raise
    except OSError as error:
        raise KernelError.from_os(error, f"writing {what}", hint="name a file on a disk with room") from error
