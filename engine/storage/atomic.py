"""Files that are either old or new, never half: write, fsync, rename, fsync the directory; delete by renaming away."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from engine.names import new_id


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace ``path`` by ``data``. On return it survives a power cut; on OSError the old content stands."""
    temporary = path.with_name(f".{path.name}.{new_id()[:8]}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut; fsync(2), "does not necessarily ensure that the entry"."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(path: Path, trash: Path) -> None:
    """Delete a tree: it is gone under its name at once, by rename, and its files follow. Absent is fine.

    What a crash leaves in ``trash`` is deleted by `empty`.
    """
    grave = trash / new_id()
    try:
        os.rename(path, grave)
    except FileNotFoundError:
        return
    shutil.rmtree(grave)  # safe against links planted inside: rmtree works on directory fds here


def empty(trash: Path) -> None:
    """Delete what earlier crashes left in the trash."""
    for grave in trash.iterdir():
        if grave.is_dir() and not grave.is_symlink():
            shutil.rmtree(grave)
        else:
            grave.unlink()
