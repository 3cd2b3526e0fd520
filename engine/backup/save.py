"""Write a backup, while containers run and pages are served."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from engine.archives.extract import IDS
from engine.archives.streams import DiskGuard, Megabytes
from engine.archives.tar import BLOCK, READ_BYTES
from engine.backup import manifest
from engine.backup.manifest import Manifest
from engine.backup.pack import Packer
from engine.backup.unpack import ALL_IDS
from engine.errors import Corrupt, KernelError
from engine.names import new_id
from engine.storage import journal, snapshots
from engine.storage.database import MIGRATIONS
from engine.storage.paths import Paths

LEVEL = 1  # of gzip: half the time of its default for a few per cent more bytes
_NOT_KEPT = frozenset({"work", ".lock"})  # of a container: overlayfs's own, and made again

_WITH_HOSTS_IDS = """
    SELECT count(*) FROM containers WHERE json_valid(spec) AND json_extract(spec, '$.namespaces.user') = 'host'
"""

Progress = Callable[[str], None]
Count = Callable[[int], object]


def save(paths: Paths, out: BinaryIO, *, images: bool, volumes: bool, progress: Progress) -> Manifest:
    """Write all of the store to ``out``, which need not be seekable.

    state.db is of one moment. Files that a container writes meanwhile are as they were when they were read; which
    those are is noted in the manifest. What was removed meanwhile is restored empty. What ``progress`` raises ends it.
    """
    writer = _Writer(out, paths.tmp)
    with _layers_held(paths), journal.journal(paths.tmp, journal.FILE) as note:
        copy = paths.tmp / f"backup-{new_id()[:12]}.db"
        note(file=copy.name)
        try:
            created_at_ns = time.time_ns()
            _copy(paths.database, copy)
            writer.file("state.db", copy)
            with closing(sqlite3.connect(copy)) as database:
                wanted = list(_trees(database, paths, images=images, volumes=volumes))
                (hosts,) = database.execute(_WITH_HOSTS_IDS).fetchone()
            copy.unlink()
            if paths.console_database.exists():
                _copy(paths.console_database, copy)
                writer.file("console.db", copy)
        finally:
            copy.unlink(missing_ok=True)
        writer.tree(manifest.CONFIG, paths.root.resolve(), only=frozenset(manifest.CONFIG_NAMES))
        for number, (name, place) in enumerate(wanted, 1):
            label = f"Saving {name}, {number} of {len(wanted)}"
            progress(label)
            skip = _NOT_KEPT if name.startswith("containers/") else frozenset[str]()
            ids = IDS if name.startswith("volumes/") and not hosts else ALL_IDS
            writer.tree(f"{name}.tar.gz", place, skip=skip, ids=ids, count=Megabytes(label, progress))
    left_out = tuple(kind for kind, there in (("images", images), ("volumes", volumes)) if not there)
    told = Manifest(manifest.FORMAT, len(MIGRATIONS), created_at_ns, writer.members, left_out, tuple(writer.notes))
    writer.end(told)
    return told


def _copy(database: Path, target: Path) -> None:
    try:
        snapshots.copy(database, target)
    except sqlite3.Error as error:
        raise Corrupt(f"{database} cannot be read: {error}", hint="look at `doctor`") from error


def _trees(database: sqlite3.Connection, paths: Paths, *, images: bool, volumes: bool) -> Iterator[tuple[str, Path]]:
    """Member and directory of each object that the snapshot tells of."""
    if images:
        for (diff_id,) in database.execute("SELECT diff_id FROM layers ORDER BY diff_id"):
            yield f"layers/{diff_id.removeprefix('sha256:')}", paths.layer(diff_id)
    for (container_id,) in database.execute("SELECT id FROM containers ORDER BY id"):
        yield f"containers/{container_id}", paths.container(container_id)
    if volumes:
        for (name,) in database.execute("SELECT name FROM volumes ORDER BY name"):
            yield f"volumes/{name}", paths.volume(name)


@contextmanager
def _layers_held(paths: Paths) -> Iterator[None]:
    """While inside, no layer is deleted; see `engine.images.layers`."""
    descriptor = os.open(paths.layers / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


class _Writer:
    """The outer tar. A member's size stands before it, so each is made beside and copied then."""

    def __init__(self, out: BinaryIO, scratch: Path) -> None:
        self._out = out
        self._scratch = scratch
        self.members: dict[str, str] = {}
        self.notes: list[str] = []

    def tree(
        self, name: str, place: Path, *, skip: frozenset[str] = frozenset(), only: frozenset[str] | None = None,
        ids: int = ALL_IDS, count: Count = lambda _size: None,
    ) -> None:  # fmt: skip
        """One directory as a member; none when it was removed meanwhile."""
        try:
            top = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            self.notes.append(f"removed meanwhile: {name}")
            return
        try:
            with tempfile.TemporaryFile(dir=self._scratch) as spool:
                guarded = cast(BinaryIO, _Counted(spool, DiskGuard(self._scratch)))
                with gzip.GzipFile("", "wb", LEVEL, guarded, mtime=0) as packed:
                    packer = Packer(cast(BinaryIO, _Counted(packed, count)), ids)
                    packer.run(top, skip, only)
                self.notes += [f"{name}: {note}" for note in packer.notes]
                self._member(name, spool)
        finally:
            os.close(top)

    def file(self, name: str, path: Path) -> None:
        """One file as a member."""
        with open(path, "rb") as file:
            self._member(name, file)

    def _member(self, name: str, file: IO[bytes]) -> None:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        digest = hashlib.sha256()
        self._head(name, size)
        while data := file.read(READ_BYTES):
            digest.update(data)
            self._write(data)
        self._write(bytes(-size % BLOCK))
        self.members[name] = digest.hexdigest()

    def end(self, told: Manifest) -> None:
        """The manifest, and the tar's end."""
        text = told.to_json()
        self._head(manifest.NAME, len(text))
        self._write(text + bytes(-len(text) % BLOCK) + bytes(2 * BLOCK))
        self._out.flush()

    def _head(self, name: str, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(time.time())
        self._write(info.tobuf(tarfile.PAX_FORMAT))

    def _write(self, data: bytes) -> None:
        try:
            self._out.write(data)
        except BrokenPipeError:  # who reads it left: the command line knows what to say
            raise
        except OSError as error:
            raise KernelError.from_os(error, "writing the backup", hint="it is not whole: delete it") from error


class _Counted:
    """A file that tells how much is written to it; what it is told to may raise, to end that."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, count: Count) -> None:
        self._file = file
        self._count = count

    def write(self, data: bytes) -> int:
        """Write, after it was told."""
        self._count(len(data))
        return self._file.write(data)

    def flush(self) -> None:
        """As a file's."""
        self._file.flush()
