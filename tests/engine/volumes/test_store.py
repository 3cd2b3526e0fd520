"""What is in a volume stays until it, and no other of its name, is removed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from engine import Config, Engine
from engine.errors import AlreadyExists, Unavailable
from tests.conftest import eventually

pytestmark = pytest.mark.one_engine


def test_a_volume_that_cannot_be_made_costs_the_one_of_that_name_nothing(engine: Engine) -> None:
    engine.create_volume("data")
    kept = engine.paths.volume("data") / "kept"
    kept.write_text("mine")
    with pytest.raises(AlreadyExists):
        engine.create_volume("data")
    engine._database._connection().execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(engine.paths.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            engine.create_volume("data")
    assert kept.read_text() == "mine"


def test_a_volume_whose_directory_cannot_be_made_leaves_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("engine.storage.atomic.sync_directory", full)
        with pytest.raises(OSError, match="No space"):
            engine._volumes.create("data")
    assert engine.volumes() == []
    assert list(engine.paths.volumes.iterdir()) == []
    assert eventually(lambda: not os.listdir(engine.paths.trash))
    engine.create_volume("data")


def test_one_made_anew_while_its_namesake_goes_keeps_its_files(
    engine: Engine, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.create_volume("data")
    (engine.paths.volume("data") / "old").touch()
    clear = engine._volumes._clear

    def late(name: str) -> None:
        with Engine(config) as other:
            other.create_volume(name)
            (other.paths.volume(name) / "new").touch()
        clear(name)

    monkeypatch.setattr(engine._volumes, "_clear", late)
    engine.remove_volume("data")
    assert [volume.name for volume in engine.volumes()] == ["data"]
    assert [path.name for path in engine.paths.volume("data").iterdir()] == ["new"]
