"""Disks for one test, and how they get full."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 2**20


@contextmanager
def mounted(*arguments: str, at: Path) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", *arguments, str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def fill(top: Path, what: str) -> list[Path]:
    """Take all bytes, or all files, that there are."""
    made: list[Path] = []
    try:
        while True:
            path = top / f"filler-{len(made)}"
            with path.open("wb", buffering=0) as file:
                made.append(path)
                if what == "bytes":
                    file.write(bytes(MIB))
    except OSError as full:
        if full.errno != errno.ENOSPC:
            raise
    if what == "bytes":  # the last pages too
        with made[0].open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return made
    return made
