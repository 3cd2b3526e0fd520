"""The images of this host: load from archives, find, tag, remove.

An image is a config document, whose digest is its id, and ordered layers (OCI image-spec config.md, "ImageID").
Rows say which there are; layers are directories, see `engine.images.layers`.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from engine.archives.streams import Bounded, Megabytes
from engine.errors import Busy, Corrupt, EngineError, InvalidRequest, NotFound
from engine.images import archive, config, spool
from engine.images.layers import Layers, Unpack
from engine.images.reference import reference as reference_of
from engine.images.spec import Image, ImageConfig, Layer
from engine.storage.database import Database
from engine.storage.paths import Paths
from engine.storage.trash import Trash

Progress = Callable[[str], None]
Publish = Callable[[str, str, str, str], None]  # kind, action, object id, name

_PREFIX = re.compile(r"[0-9a-f]{4,64}")
_ROOTFS = ImageConfig(env=(config.DEFAULT_PATH,), cmd=("/bin/sh",))


class ImageStore:
    """The images of one instance. Thread-safe; several processes may hold one on the same directories."""

    def __init__(self, paths: Paths, database: Database, unpack: Unpack, publish: Publish, trash: Trash) -> None:
        self.scratch = paths.tmp  # for files without a name
        self._database = database
        self._layers = Layers(paths, database, unpack, trash)
        self._publish = publish

    def list(self) -> builtins.list[Image]:
        """All images, the newest first. One whose record is damaged shows with an empty config."""
        rows = self._database.rows("SELECT * FROM images ORDER BY created_at_ns DESC, id")
        return [self._image(row, broken_ok=True) for row in rows]

    def get(self, ref: str) -> Image:
        """One image, by tag, id, or a prefix of at least 4 hex digits that only it has."""
        return self._image(self._find(ref), broken_ok=False)

    def load(
        self, source: Path | BinaryIO, *, name: str = "", progress: Progress | None = None
    ) -> builtins.list[Image]:
        """Import a `docker save` tar, an OCI layout tar, or a root file system tar, each perhaps compressed.

        ``name`` replaces the tags in an archive of one image, and names a root file system, which otherwise takes
        its file's name. On EngineError nothing of the archive is left here, but layers that an image uses.
        """
        reference = reference_of(name) if name else ""
        say = progress or (lambda _text: None)
        with self._layers.loading(), spool.opened(source, self.scratch, say) as file:
            index = spool.index(file)
            incoming = archive.read(file, index) if index.complete else None
            if incoming is None:
                return [self._load_rootfs(file, reference or spool.derived_name(source), _ROOTFS, say)]
            if reference:
                if len(incoming) != 1:
                    raise InvalidRequest(
                        f"the archive holds {len(incoming)} images",
                        hint="leave the name empty: they bring theirs",
                        field="name",
                    )
                incoming = [archive.Incoming(incoming[0].config, incoming[0].parsed, incoming[0].blobs, (reference,))]
            for image in incoming:
                self._load_layers(file, image, say)
            self._commit(incoming)
        return [self.get(image.id) for image in incoming]

    def load_rootfs(self, file: BinaryIO, name: str, settings: ImageConfig, progress: Progress | None = None) -> Image:
        """Make an image of one layer from a plain tar that can be read anywhere; for images made here."""
        with self._layers.loading():
            return self._load_rootfs(file, reference_of(name), settings, progress or (lambda _text: None))

    def derive(
        self, base: str, layer: BinaryIO | None, settings: ImageConfig, made: config.History, name: str,
        progress: Progress | None = None,
    ) -> Image:  # fmt: skip
        """Make an image of another one and a further layer, a plain tar; None for one that only has other settings.

        Without a ``name`` it has no tag. InvalidRequest when it would have too many layers, or its settings are none.
        """
        references = (reference_of(name),) if name else ()
        say = progress or (lambda _text: None)
        with self._layers.loading():
            member, diff_id = spool.measured(layer, Megabytes("Measuring the layer", say)) if layer else (None, None)
            document = config.derive(self._find(base)["config"].encode(), settings, diff_id, made)
            image = archive.Incoming(document, config.parse(document), (), references)
            if layer and member and diff_id:
                layer.seek(0)
                self._layers.ensure(diff_id, Bounded(layer, member.size), count=Megabytes("Unpacking the layer", say))
            say("Writing the image")  # after this it is there
            self._commit([image])
            return self.get(image.id)

    def tag(self, ref: str, name: str) -> Image:
        """Give an image one more tag; one that another image had moves."""
        reference = reference_of(name)
        image_id = self._find(ref)["id"]
        try:
            with self._database.transaction(durable=True) as connection:
                _set_tag(connection, reference, image_id)
        except sqlite3.IntegrityError as error:
            raise NotFound(f"the image {ref!r} has just been removed", subject=ref) from error
        self._publish("image", "tag", image_id, reference)
        return self.get(image_id)

    def remove(self, ref: str, *, force: bool = False) -> None:
        """Take a tag away; with the last one, or by id, remove the image and the layers that no other one uses.

        By id an image with several tags goes only with ``force``. Busy while a container uses it, force or not.
        """
        image_id = self._find(ref)["id"]
        with self._database.transaction(durable=True) as connection:
            tags = [
                r["reference"] for r in connection.execute("SELECT reference FROM tags WHERE image_id = ?", (image_id,))
            ]
            reference = _as_reference(ref)
            by_tag = reference in tags
            if by_tag and len(tags) > 1:
                connection.execute("DELETE FROM tags WHERE reference = ?", (reference,))
                action = "untag"
            else:
                if len(tags) > 1 and not force:
                    raise Busy(
                        f"the image has {len(tags)} tags: {', '.join(sorted(tags))}",
                        hint="remove it by a tag, or force it",
                        subject=image_id,
                    )
                _check_unused(connection, image_id)
                connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
                action = "remove"
        self._layers.collect()
        self._publish("image", action, image_id, reference if by_tag and reference else "".join(tags[:1]))

    def tidy(self) -> None:
        """Delete layers that no image uses, as a crash in the middle of a load or a removal leaves them."""
        self._layers.collect()

    def _load_rootfs(self, file: BinaryIO, reference: str, settings: ImageConfig, say: Progress) -> Image:
        say("Reading the root file system")
        member, diff_id = spool.measured(file, Megabytes("Reading the root file system", say))
        document = config.make(settings, [diff_id])
        image = archive.Incoming(document, config.parse(document), (archive.LayerBlob(member, None),), (reference,))
        self._load_layers(file, image, say)
        self._commit([image])
        return self.get(image.id)

    def _load_layers(self, file: BinaryIO, image: archive.Incoming, say: Progress) -> None:
        total = len(image.blobs)
        for number, (blob, diff_id) in enumerate(zip(image.blobs, image.parsed.diff_ids, strict=True), 1):
            label = f"Layer {number} of {total}"
            say(label)
            file.seek(blob.member.offset)
            source = Bounded(file, blob.member.size)
            self._layers.ensure(diff_id, source, digest=blob.digest, count=Megabytes(label, say))

    def _commit(self, incoming: Sequence[archive.Incoming]) -> None:
        with self._database.transaction(durable=True) as connection:
            for image in incoming:
                connection.execute(
                    "INSERT INTO images VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (image.id, image.config.decode(), image.parsed.architecture, time.time_ns()),
                )
                connection.executemany(
                    "INSERT INTO image_layers VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    [(image.id, position, diff_id) for position, diff_id in enumerate(image.parsed.diff_ids)],
                )
                for reference in image.references:
                    _set_tag(connection, reference, image.id)
        for image in incoming:
            self._publish("image", "load", image.id, "".join(image.references[:1]))

    def _find(self, ref: str) -> sqlite3.Row:
        reference = _as_reference(ref)
        row = self._database.row(
            "SELECT images.* FROM tags JOIN images ON images.id = image_id WHERE reference = ?", (reference,)
        )
        if row:
            return row
        digits = ref.removeprefix("sha256:")
        if not _PREFIX.fullmatch(digits):
            reference_of(ref)  # a malformed one is an InvalidRequest
            raise _unknown(ref)
        rows = self._database.rows(
            "SELECT * FROM images WHERE id >= ? AND id < ? LIMIT 2", (f"sha256:{digits}", f"sha256:{digits}g")
        )
        if len(rows) > 1:
            raise InvalidRequest(
                f"several images begin with {digits}", hint="give more digits", field="image", subject=ref
            )
        if not rows:
            raise _unknown(ref)
        return rows[0]

    def _image(self, row: sqlite3.Row, *, broken_ok: bool) -> Image:
        layers = self._database.rows(
            "SELECT diff_id, size_bytes FROM image_layers JOIN layers USING (diff_id)"
            " WHERE image_id = ? ORDER BY position",
            (row["id"],),
        )
        tags = self._database.rows("SELECT reference FROM tags WHERE image_id = ? ORDER BY reference", (row["id"],))
        used = self._database.rows("SELECT count(*) AS n FROM containers WHERE image_id = ?", (row["id"],))
        try:
            settings = _checked(row["id"], row["config"].encode()).config
        except EngineError as error:
            if not broken_ok:
                raise Corrupt(
                    f"the record of the image is damaged: {error.message}",
                    hint="remove and load it again",
                    subject=row["id"],
                ) from error
            settings = ImageConfig()
        return Image(
            id=row["id"],
            tags=tuple(tag["reference"] for tag in tags),
            layers=tuple(Layer(layer["diff_id"], layer["size_bytes"]) for layer in layers),
            config=settings,
            created_at_ns=row["created_at_ns"],
            architecture=row["architecture"],
            used_by=used[0]["n"],
        )


def _checked(image_id: str, document: bytes) -> config.ParsedConfig:
    """The config whose digest is the image's id; so whatever happens to what is stored shows."""
    if f"sha256:{hashlib.sha256(document).hexdigest()}" != image_id:
        raise Corrupt("its config is not the one that its id promises")
    return config.parse(document)


def _as_reference(ref: str) -> str | None:
    with contextlib.suppress(InvalidRequest):
        return reference_of(ref)
    return None


def _set_tag(connection: sqlite3.Connection, reference: str, image_id: str) -> None:
    connection.execute(
        "INSERT INTO tags VALUES (?, ?) ON CONFLICT (reference) DO UPDATE SET image_id = excluded.image_id",
        (reference, image_id),
    )


def _check_unused(connection: sqlite3.Connection, image_id: str) -> None:
    rows = connection.execute("SELECT name FROM containers WHERE image_id = ? ORDER BY name", (image_id,)).fetchall()
    if rows:
        users = ", ".join(row["name"] for row in rows[:10]) + (", …" if len(rows) > 10 else "")
        raise Busy(f"the image is used by {users}", hint="remove these containers first", subject=image_id)


def _unknown(ref: str) -> NotFound:
    return NotFound(
        f"there is no image {ref!r}", hint="load it first, or look at the list of images", field="image", subject=ref
    )
