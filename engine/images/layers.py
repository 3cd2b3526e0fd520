"""Unpacked layers on disk: made once, shared by all images, deleted when no image uses them.

Two locks (flock(2), so threads and processes alike):

* ``layers/.lock`` is held shared by everyone who loads an image, exclusively by who deletes unused layers.
  Deleting is never waited for: with a load under way it is left to the end of that load.
* a workspace ``tmp/layer-<hex>`` is a directory that is itself the lock of its layer.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import names
from engine.archives.feed import feed
from engine.archives.streams import Decompressed, DiskGuard, Hashed
from engine.archives.tar import Source
from engine.errors import Corrupt, EngineError, Unavailable
from engine.storage import atomic
from engine.storage.database import Database
from engine.storage.paths import Paths
from engine.storage.trash import Trash

LAYER_BYTES = 64 * 2**30
DEADLINE_S = 3000.0

Unpack = Callable[[dict[str, Any], list[int]], dict[str, Any]]
Count = Callable[[int], None]


class Layers:
    """The layers of an instance. ``unpack`` is `engine.archives.worker.unpack` in a process of its own."""

    def __init__(self, paths: Paths, database: Database, unpack: Unpack, trash: Trash) -> None:
        self._paths = paths
        self._database = database
        self._unpack = unpack
        self._trash = trash

    @contextmanager
    def loading(self) -> Iterator[None]:
        """While inside, no layer is deleted; on leaving, those that no image uses are."""
        try:
            with self._locked(fcntl.LOCK_SH):
                yield
        finally:
            self.collect()

    def ensure(self, diff_id: str, blob: Source, *, digest: str | None = None, count: Count | None = None) -> None:
        """Have the layer on disk, from ``blob`` (perhaps compressed) if it is not there. Call inside `loading`.

        Corrupt when the blob's digest or the uncompressed one is not as promised; then nothing is left of it.
        """
        with self._workspace(diff_id) as workspace:
            if self._present(diff_id):
                return
            tree = workspace / "tree"
            tree.mkdir(mode=0o755)
            os.chmod(tree, 0o755)
            size_bytes = self._fill(tree, diff_id, blob, digest, count or (lambda _size: None))
            place = self._paths.layer(diff_id)
            self._trash.discard(place)  # without its row it is what a crash left
            os.rename(tree, place)
            atomic.sync_directory(self._paths.layers)
            with self._database.transaction(durable=True) as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO layers VALUES (?, ?)",
                    (diff_id, size_bytes),
                )

    def collect(self) -> None:
        """Delete layers that no image uses, and half loaded ones; unless somebody is loading, who will do so."""
        while self._unused() or self._abandoned():
            try:
                with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                    for diff_id in self._unused():
                        with self._database.transaction(durable=True) as connection:
                            connection.execute("DELETE FROM layers WHERE diff_id = ?", (diff_id,))
                        self._trash.discard(self._paths.layer(diff_id))
                    for workspace in self._abandoned():
                        atomic.discard(workspace, self._paths.trash)
            except BlockingIOError:
                return

    def _unused(self) -> set[str]:
        found = {f"sha256:{name}" for name in os.listdir(self._paths.layers) if names.OBJECT_ID.fullmatch(name)}
        found |= {row["diff_id"] for row in self._database.rows("SELECT diff_id FROM layers")}
        return found - {row["diff_id"] for row in self._database.rows("SELECT DISTINCT diff_id FROM image_layers")}

    def _abandoned(self) -> list[Path]:
        """Workspaces; of a crash, when nobody is loading."""
        return list(self._paths.tmp.glob("layer-*"))

    def _present(self, diff_id: str) -> bool:
        row = self._database.row("SELECT 1 FROM layers WHERE diff_id = ?", (diff_id,))
        return row is not None and self._paths.layer(diff_id).is_dir()

    def _fill(self, tree: Path, diff_id: str, blob: Source, digest: str | None, count: Count) -> int:
        """Unpack a layer into an empty directory; the sum of the files' sizes."""
        target = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        request = {"max_bytes": LAYER_BYTES, "deadline_s": DEADLINE_S, "end_marker": False}
        try:
            chunks = self._uncompressed(diff_id, blob, digest, count)
            result, complete = feed(lambda stream: self._unpack(request, [stream, target]), chunks)
        finally:
            os.close(target)
        if not complete:
            raise Unavailable("the unpacking process stopped reading", hint="try again")
        return int(result["size_bytes"])

    def _uncompressed(self, diff_id: str, blob: Source, digest: str | None, count: Count) -> Iterator[bytes]:
        """What the layer holds; Corrupt at its end when it is not what was promised."""
        raw = Hashed(blob)
        content = hashlib.sha256()
        guard = DiskGuard(self._paths.tmp)
        for data in Decompressed(raw, max_bytes=LAYER_BYTES):
            content.update(data)
            guard(len(data))
            count(len(data))
            yield data
        if digest not in (None, raw.digest) or f"sha256:{content.hexdigest()}" != diff_id:
            raise _mismatch(diff_id)

    @contextmanager
    def _locked(self, operation: int) -> Iterator[None]:
        descriptor = os.open(self._paths.layers / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, operation)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _workspace(self, diff_id: str) -> Iterator[Path]:
        path = self._paths.tmp / f"layer-{diff_id.removeprefix('sha256:')}"
        descriptor = _lock_directory(path)
        try:
            for left in list(path.iterdir()):  # by a crash
                atomic.discard(left, self._paths.trash)
            yield path
        finally:
            atomic.discard(path, self._paths.trash)  # at once: what failed may have filled the disk
            os.close(descriptor)


def _lock_directory(path: Path) -> int:
    """Make and lock a directory that whoever holds it deletes: what one waited for may be gone, so look again."""
    while True:
        # Not exist_ok=True: that looks again whether it is a directory, and raises when its holder has just left.
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _mismatch(diff_id: str) -> EngineError:
    return Corrupt(
        "a layer does not match its digest", hint="the archive was changed or damaged: get it again", subject=diff_id
    )
