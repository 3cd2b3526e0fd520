"""Stores and run records of other versions: older ones work, newer ones are refused and left alone."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from engine import Config, Engine, State
from engine.errors import Corrupt
from engine.names import new_id
from engine.storage import database, snapshots
from engine.storage.database import MIGRATIONS, Database
from tests.fixtures.store import CODE, NAMES, SAID

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
ADDED = "CREATE TABLE extra (n INTEGER); INSERT INTO extra VALUES (1);"


@pytest.fixture(params=sorted(FIXTURES.glob("store-*.tar.gz")), ids=lambda path: path.name)
def store(request: pytest.FixtureRequest, config: Config) -> Config:
    """A store as that version left it."""
    subprocess.run(["tar", "-xzpf", request.param, "-C", config.root, "--strip-components=1", "root"], check=True)
    (config.run / "shims").mkdir(mode=0o700)
    subprocess.run(["tar", "-xzpf", request.param, "-C", config.run, "shims"], check=True)
    (config.root / "instance").write_text(new_id()[:12])
    return config


def test_every_released_schema_has_its_store() -> None:
    assert {path.name for path in FIXTURES.glob("*.tar.gz")} == {
        f"store-{number}.tar.gz" for number in range(1, len(MIGRATIONS) + 1)
    }, "make it with tests/fixtures/store.py, before the schema changes again"


def test_an_older_store_is_read_and_its_containers_start(store: Config, engine: Engine) -> None:
    found = {container.name: container for container in engine.containers()}
    assert set(found) == set(NAMES)
    assert [found[name].state for name in NAMES] == [State.EXITED, State.EXITED, State.CREATED]
    ended, ran = found["ended"].exit, found["ran"].exit
    assert ended is not None
    assert ended.code == CODE
    assert ran is not None
    assert ran.code is None, "the power went: nobody saw how it ended"
    assert [line.text for line in engine.logs("ended")] == [SAID.decode().strip()]
    assert [image.tags for image in engine.images()] == [("tiny:latest",)]
    assert [(volume.name, sorted(volume.used_by)) for volume in engine.volumes()] == [("cargo", sorted(NAMES))]
    assert (engine.paths.volume("cargo") / "note").read_text() == "kept\n"
    for name in NAMES:
        engine.start(name)
    assert engine.inspect("ran").state is State.RUNNING
    assert [engine.wait(name, timeout_s=10).code for name in ("ended", "new")] == [CODE, CODE]
    engine.stop("ran", timeout_s=0)


def test_a_migration_keeps_what_was_before(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config.root / "state.db"
    Database(path).close()
    backups = config.root / "backups"
    assert not backups.exists(), "a new store has nothing to keep"
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, ADDED))
    opened = Database(path)
    assert [row["n"] for row in opened.rows("SELECT n FROM extra")] == [1]
    opened.close()
    (kept,) = backups.iterdir()
    assert kept.name.startswith(f"state-v{len(MIGRATIONS)}-")
    with sqlite3.connect(kept) as copy:
        assert copy.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
        assert copy.execute("PRAGMA quick_check").fetchone()[0] == "ok"
    copy.close()


def test_a_migration_that_fails_leaves_the_old_store_and_says_where_the_copy_is(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config.root / "state.db"
    Database(path).close()
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, ADDED + "INSERT INTO nowhere VALUES (1);"))
    with pytest.raises(Corrupt, match=rf"from schema {len(MIGRATIONS)} to {len(MIGRATIONS) + 1}") as told:
        Database(path)
    assert "backups/state-v" in told.value.hint
    monkeypatch.undo()
    opened = Database(path)
    assert opened.row("SELECT 1 FROM sqlite_master WHERE name = 'extra'") is None
    opened.close()


def test_a_newer_store_is_refused_with_both_versions(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config.root / "state.db"
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, ADDED))
    Database(path).close()
    before = path.read_bytes()
    monkeypatch.undo()
    known = len(MIGRATIONS)
    with pytest.raises(Corrupt, match=rf"schema {known + 1} of a newer Wharfie; this one knows {known} at most"):
        Database(path)
    assert path.read_bytes() == before


def test_copies_are_kept_up_to_three(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Database(path).close()
    for number in range(snapshots.KEPT + 2):
        made = snapshots.before_migration(path, f"v{number}", tmp_path / "backups")
        os.utime(made, ns=(number, number))
    assert sorted(kept.name.split("-")[1] for kept in (tmp_path / "backups").iterdir()) == ["v2", "v3", "v4"]


def test_a_copy_goes_back_while_others_have_the_database_open(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    opened = Database(path)
    with opened.transaction() as connection:
        connection.execute("INSERT INTO volumes VALUES ('before', 1)")
    kept = snapshots.before_migration(path, "v1", tmp_path / "backups")
    with opened.transaction() as connection:
        connection.execute("INSERT INTO volumes VALUES ('after', 2)")
    snapshots.put_back(kept, path)
    assert [row["name"] for row in opened.rows("SELECT name FROM volumes")] == ["before"]
    opened.close()
