"""An image store on directories of its own; layers are unpacked by the real worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import Config
from engine.images.store import ImageStore
from engine.storage.database import Database
from engine.storage.paths import Paths
from engine.storage.trash import Trash
from tests.conftest import eventually
from tests.engine.archives import separate


class Store:
    """A store, what it published, and a look at everything it has on disk."""

    def __init__(self, config: Config) -> None:
        self.paths = Paths(config)
        for directory in self.paths.persistent():
            directory.mkdir(exist_ok=True)
        self.database = Database(self.paths.database)
        self.events: list[tuple[str, ...]] = []
        self.trash = Trash(self.paths.trash)
        parts = self.paths, self.database, separate.unpack, lambda *event: self.events.append(event), self.trash
        self.images = ImageStore(*parts)

    def layers(self) -> set[str]:
        """Layer directories by digest."""
        return {f"sha256:{name}" for name in os.listdir(self.paths.layers) if not name.startswith(".")}

    def scraps(self) -> list[str]:
        """What should never be left; what is being deleted still is not."""
        eventually(lambda: not os.listdir(self.paths.trash))
        return [*os.listdir(self.paths.tmp), *os.listdir(self.paths.trash)]

    def rows(self, table: str) -> int:
        """How many rows a table has."""
        (row,) = self.database.rows(f"SELECT count(*) AS n FROM {table}")
        return int(row["n"])

    def add_container(self, name: str, image_id: str) -> None:
        """A container's row."""
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT INTO containers (id, name, image, image_id, spec, argv, uid_base, created_at_ns)"
                " VALUES (?, ?, '', ?, '', '', ?, 0)",
                (name, name, image_id, abs(hash(name))),
            )


@pytest.fixture
def store(config: Config) -> Iterator[Store]:
    made = Store(config)
    yield made
    assert made.scraps() == []
    assert made.layers() == {row["diff_id"] for row in made.database.rows("SELECT diff_id FROM layers")}
    used = {row["diff_id"] for row in made.database.rows("SELECT diff_id FROM image_layers")}
    assert made.layers() == used, "a layer without an image"
    made.trash.close()
    made.database.close()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Where a test writes its archive."""
    return tmp_path / "some-image.tar"
