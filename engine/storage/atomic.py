"""Files that are either old or new, never half: write, fsync, rename, fsync the directory; delete by renaming away."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from engine.linux import files
from engine.linux.trees import remove_tree
from engine.names import new_id

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}")


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace ``path`` by ``data``. On return it survives a power cut; on OSError the old content stands."""
    temporary = path.with_name(f".{path.name}.{new_id()[:8]}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            files.write_all(descriptor, data)
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


def sweep(directory: Path) -> None:
    """Delete what `write_atomically` left in a directory when it was killed. Only while nobody writes there."""
    for path in directory.glob(".*"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def intend(path: Path, trash: Path) -> None:
    """Note in the trash that the row of a directory is about to come or to go. Call it in that row's transaction, and
    `agree` when row and directory do so again; should a crash come first, `settle` makes them.

    A full disk has no room for the note, and must not forbid a removal: then a crash leaves files to the doctor."""
    try:
        os.close(os.open(_note(path, trash), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def agree(path: Path, trash: Path) -> None:
    """Drop the note of `intend`."""
    _note(path, trash).unlink(missing_ok=True)


def _note(path: Path, trash: Path) -> Path:
    return trash / f"{path.parent.name}.{path.name}"


def settle(directory: Path, trash: Path, known: Set[str]) -> None:
    """Take away what crashes left in ``directory`` without a row: those noted by `intend` that are not ``known``.

    Others without a row are left alone: they may be newer than a state.db that was restored. Call it in a transaction,
    for then nobody stands between a row and its directory.
    """
    for note in trash.glob(f"{directory.name}.*"):
        name = note.name.partition(".")[2]
        if name not in known:
            bury(directory / name, trash)
        note.unlink(missing_ok=True)


def bury(path: Path, trash: Path) -> Path | None:
    """Take a tree from its name, by rename: from then on it is gone. None when it was absent."""
    grave = trash / new_id()
    try:
        os.rename(path, grave)
    except FileNotFoundError:
        return None
    return grave


def discard(path: Path, trash: Path) -> None:
    """Delete a tree: it is gone under its name at once, and its files follow. Absent is fine.

    What a crash leaves in ``trash`` is deleted by `Trash.empty`.
    """
    grave = bury(path, trash)
    if grave is not None:
        delete(grave)


def delete(grave: Path) -> None:
    """Delete what `bury` gave. What somebody else deletes first is fine."""
    try:
        grave.unlink()
    except FileNotFoundError:
        return
    except IsADirectoryError:
        parent = os.open(grave.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(FileNotFoundError):
                remove_tree(parent, grave.name)
        finally:
            os.close(parent)
