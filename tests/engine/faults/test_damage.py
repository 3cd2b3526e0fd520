"""What is stored goes bad: that one object is broken, says why and can be removed; others do not notice (F7, F8)."""

from __future__ import annotations

import gc
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from engine import Container, ContainerSpec, Engine, EngineError, State, VolumeMount
from engine.errors import Corrupt, Unavailable, WrongState
from engine.storage import database, instance
from tests.conftest import eventually, stop_launcher
from tests.engine.conftest import groups
from tests.engine.faults.damage import MUTATORS, lose, mutate
from tests.images import busybox_rootfs

EVERY = pytest.mark.parametrize("how", MUTATORS)
PRESENT = pytest.mark.parametrize("how", [how for how in MUTATORS if how != "missing"])  # of what is NOT NULL


@pytest.fixture
def neighbour(dock: Engine) -> Iterator[Container]:
    """A container that nothing is done to, and that works afterwards as before."""
    container = dock.create(ContainerSpec(image="busybox", command=("true",), name="neighbour"))
    yield container
    assert dock.inspect("neighbour").state is State.CREATED
    assert "neighbour" in [found.name for found in dock.listing().containers]
    dock.start("neighbour")
    assert dock.wait("neighbour", timeout_s=10).code == 0


def set_column(engine: Engine, table: str, column: str, key: str, value: bytes | None) -> None:
    """As a damaged page of the database has it: bytes that were never checked."""
    name = {"volumes": "name"}.get(table, "id")
    with engine._database.transaction() as connection:
        connection.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE {name} = ?", (value, key))


def column(engine: Engine, table: str, name: str, key: str) -> bytes:
    row = engine._database.row(f"SELECT CAST({name} AS BLOB) FROM {table} WHERE id = ?", (key,))
    assert row is not None
    return bytes(row[0])


@PRESENT
@pytest.mark.parametrize("part", ["spec", "argv"])
def test_a_containers_record(dock: Engine, neighbour: Container, part: str, how: str) -> None:
    bad = dock.create(ContainerSpec(image="busybox", command=("sleep", "100"), name="bad"))
    damaged = MUTATORS[how](column(dock, "containers", part, bad.id))
    set_column(dock, "containers", part, bad.id, damaged)
    found = {container.name: container for container in dock.containers()}["bad"]
    assert found.state is State.BROKEN
    assert "damaged" in found.broken
    with pytest.raises(WrongState, match="is broken"):
        dock.wait(found.id)
    for act in (dock.start, dock.stop, dock.kill, dock.pause, lambda ref: dock.rename(ref, "other")):
        with pytest.raises(EngineError):
            act("bad")
    assert bad.id in [found.id for found in dock.listing("bad").containers]
    dock.remove("bad")
    assert [container.name for container in dock.containers()] == ["neighbour"]


@EVERY
def test_a_containers_stored_exit(dock: Engine, neighbour: Container, how: str) -> None:
    bad = ended(dock)
    set_column(dock, "containers", "exit", bad.id, MUTATORS[how](column(dock, "containers", "exit", bad.id)))
    found = dock.inspect(bad.id)
    if how == "missing":  # then it is read from the shim's record again
        assert found.exit is not None
        assert found.exit.code == 3
    else:
        assert found.state is State.EXITED
        assert found.exit is not None
        assert found.exit.code is None, "it is never invented"
        assert "damaged" in found.exit.reason
    dock.remove(bad.id)


def ended(dock: Engine) -> Container:
    """One that ran, ended with 3, and is known to have."""
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "exit 3"), name="bad"))
    dock.start(container.id)
    dock.wait(container.id, timeout_s=10)
    assert eventually(lambda: dock._records.shim(container.id) is None)
    return dock.inspect(container.id)


@EVERY
def test_an_exit_record(dock: Engine, neighbour: Container, how: str) -> None:
    bad = ended(dock)
    set_column(dock, "containers", "exit", bad.id, None)
    mutate(dock.paths.exit_record(bad.id), how)
    found = dock.inspect(bad.id)
    assert found.state is State.EXITED
    assert found.exit is not None
    assert found.exit.code is None, "it is never invented"
    assert found.exit.reason
    dock.start(bad.id)
    assert dock.wait(bad.id, timeout_s=10).code == 3, "and the next run's is right"


@EVERY
def test_a_run_record(dock: Engine, neighbour: Container, how: str) -> None:
    """Nothing is known then of what runs; but it can be removed, and takes its processes along."""
    bad = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"), name="bad"))
    pid = dock.start(bad.id).pid
    shim = dock._records.shim(bad.id)
    mutate(dock.paths.run_record(bad.id), how)
    found = dock.inspect(bad.id)
    if how != "missing":
        assert found.state is State.BROKEN
        assert "run record" in found.broken
    assert bad.id in [container.id for container in dock.listing().containers]
    assert dock.running() == []
    dock.remove(bad.id, force=True)
    assert eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    assert eventually(lambda: not os.path.exists(f"/proc/{shim}")), "its shim ends too"
    assert not list(dock.paths.shims.glob(f"{bad.id}*"))
    assert not groups(dock, bad.id)


@pytest.mark.parametrize("part", ["", "upper", "work", "log"])
def test_a_containers_directory_that_is_lost(dock: Engine, neighbour: Container, part: str) -> None:
    bad = dock.create(ContainerSpec(image="busybox", command=("true",), name="bad"))
    lose(dock.paths.container(bad.id) / part)
    with pytest.raises(EngineError):
        dock.start("bad")
    assert dock.inspect("bad").state is State.CREATED
    dock.remove("bad")
    assert [container.name for container in dock.containers()] == ["neighbour"]


@PRESENT
def test_an_images_record(dock: Engine, how: str, tmp_path: Path) -> None:
    image = dock.image("busybox")
    damaged = MUTATORS[how](column(dock, "images", "config", image.id))
    user = dock.create(ContainerSpec(image="busybox", command=("true",)))
    set_column(dock, "images", "config", image.id, damaged)
    assert [found.id for found in dock.images()] == [image.id]
    with pytest.raises(Corrupt):
        dock.image("busybox")
    with pytest.raises(Corrupt):
        dock.create(ContainerSpec(image="busybox"))
    with pytest.raises(Corrupt):
        dock.start(user.id)
    dock.remove(user.id)
    dock.remove_image("busybox")
    assert dock.images() == []
    assert [path.name for path in dock.paths.layers.iterdir()] == [".lock"]
    dock.load_image(busybox_rootfs(tmp_path / "again.tar"), name="busybox")
    again = dock.create(ContainerSpec(image="busybox", command=("true",)))
    dock.start(again.id)
    assert dock.wait(again.id, timeout_s=10).code == 0


def test_one_letter_of_an_images_config(dock: Engine) -> None:
    """The id is its digest: what could still be read, and run, is not what was loaded."""
    image = dock.image("busybox")
    document = column(dock, "images", "config", image.id)
    set_column(dock, "images", "config", image.id, document.replace(b"/bin/sh", b"/bin/sx"))
    with pytest.raises(Corrupt):
        dock.create(ContainerSpec(image="busybox"))
    dock.remove_image("busybox")


def test_a_layer_that_is_lost_comes_back_with_its_image(dock: Engine, tmp_path: Path) -> None:
    user = dock.create(ContainerSpec(image="busybox", command=("true",)))
    lose(dock.paths.layer(dock.image("busybox").layers[0].diff_id))
    with pytest.raises(EngineError) as caught:
        dock.start(user.id)
    assert dock.image("busybox").layers[0].diff_id.removeprefix("sha256:") in str(caught.value)
    dock.load_image(busybox_rootfs(tmp_path / "busybox.tar"), name="busybox")
    dock.start(user.id)
    assert dock.wait(user.id, timeout_s=10).code == 0


@pytest.mark.parametrize("how", ["missing", "a file", "a link"])
def test_a_volume_that_is_lost(dock: Engine, how: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").write_text("untouched")
    for name in ("bad", "good"):
        dock.create_volume(name)
    spec = ContainerSpec(image="busybox", command=("touch", "/data/x"), volumes=(VolumeMount("bad", "/data"),))
    user = dock.create(spec)
    lose(dock.paths.volume("bad"))
    if how == "a file":
        dock.paths.volume("bad").touch()
    if how == "a link":
        dock.paths.volume("bad").symlink_to(victim)
    with pytest.raises(EngineError):
        dock.start(user.id)
    assert dock.inspect(user.id).state is State.CREATED
    dock.remove(user.id)
    assert [volume.name for volume in dock.volumes()] == ["bad", "good"]
    dock.remove_volume("bad")
    assert os.listdir(dock.paths.volumes) == ["good"]
    assert os.listdir(victim) == ["kept"]


@EVERY
@pytest.mark.parametrize("name", ["instance", "version", "run"])
def test_a_file_of_the_store(dock: Engine, name: str, how: str) -> None:
    """It is not opened and not changed, and what to do is said; except where nothing is lost by making it anew."""
    container = dock.create(ContainerSpec(image="busybox", command=("true",)))
    stop_launcher(dock.config)
    path = dock.paths.root / name
    good = path.read_bytes()
    mutate(path, how)
    damaged = path.read_bytes() if path.exists() else None
    if name == "run" and how in ("missing", "cut off"):  # a directory in which nothing lives
        with Engine(dock.config) as other:
            assert other.inspect(container.id).state is State.CREATED
        return
    with pytest.raises(Corrupt) as caught:
        Engine(dock.config)
    assert caught.value.hint
    assert (path.read_bytes() if path.exists() else None) == damaged
    path.write_bytes(good)
    with Engine(dock.config) as other:
        assert other.inspect(container.id).state is State.CREATED


@pytest.fixture
def own_claims(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory of claims that only this test damages: the host's is read by everybody who claims."""
    monkeypatch.setattr(instance, "CLAIMS", tmp_path / "claims")


@EVERY
def test_a_claim_of_user_ids(own_claims: None, dock: Engine, how: str) -> None:
    """Nothing is claimed that might be another's; and what is known to be one's own is claimed again."""
    claim = instance.CLAIMS / dock.instance
    good = claim.read_bytes()
    mutate(claim, how)
    try:
        if how == "missing":
            dock.create(ContainerSpec(image="busybox", command=("true",)))
            return
        with pytest.raises(Corrupt, match=str(claim)) as caught:
            dock.create(ContainerSpec(image="busybox", command=("true",)))
        assert caught.value.hint
        assert dock.containers() == []
    finally:
        if how != "missing":
            claim.write_bytes(good)


def scribble(path: Path) -> None:
    """Every page but the first is overwritten."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


def behead(path: Path) -> None:
    """The first bytes, by which SQLite knows its files."""
    with path.open("r+b") as file:
        file.write(bytes(64))


DAMAGE_OF_THE_DATABASE = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: os.truncate(path, 0),
    "cut off": lambda path: os.truncate(path, 5000),
    "without its head": behead,
    "overwritten": scribble,
    "no database": lambda path: path.write_text("hello" * 1000),
}


@pytest.mark.parametrize("how", DAMAGE_OF_THE_DATABASE)
def test_a_damaged_database_is_refused_and_a_copy_serves_again(dock: Engine, how: str) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("true",), name="kept"))
    stop_launcher(dock.config)
    dock._database.close()  # the last connection empties the write-ahead log into it
    path = dock.paths.database
    good = path.read_bytes()
    DAMAGE_OF_THE_DATABASE[how](path)
    with pytest.raises(Corrupt) as caught, Engine(dock.config) as other:
        other.containers()
    assert "backup" in caught.value.hint
    assert dock.paths.container(container.id).exists(), "nothing is deleted on its word"
    for name in ("state.db-wal", "state.db-shm"):
        (dock.paths.root / name).unlink(missing_ok=True)
    path.write_bytes(good)
    assert dock.inspect("kept").id == container.id
    dock.start("kept")
    assert dock.wait("kept", timeout_s=10).code == 0


def test_a_lost_write_ahead_log_is_an_older_state(dock: Engine) -> None:
    dock.create(ContainerSpec(image="busybox", command=("true",), name="old"))
    dock._database.row("PRAGMA wal_checkpoint(TRUNCATE)")
    lost = dock.create(ContainerSpec(image="busybox", command=("true",), name="lost"))
    good = dock.paths.database.read_bytes()
    dock._database.close()
    dock.paths.database.write_bytes(good)  # as it was before the log came in
    with Engine(dock.config) as other:
        assert [container.name for container in other.containers()] == ["old"]
        other.tidy()
        assert other.paths.container(lost.id).exists(), "what may be newer than this state is not thrown away"
        other.create(ContainerSpec(image="busybox", command=("true",), name="lost"))
        other.start("old")
        assert other.wait("old", timeout_s=10).code == 0


def test_a_locked_database_is_waited_for_and_then_said(dock: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.2)
    stranger = sqlite3.connect(dock.paths.database, isolation_level=None, check_same_thread=False)
    stranger.execute("BEGIN EXCLUSIVE")
    try:
        with Engine(dock.config) as other:
            with pytest.raises(Unavailable, match="locked") as caught:
                other.create_volume("v")
            assert caught.value.hint
            assert other.volumes() == [], "reading goes on"
            monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 5.0)
            with Engine(dock.config) as patient, ThreadPoolExecutor(1) as pool:
                asked = pool.submit(patient.create_volume, "v")
                assert not wait([asked], timeout=0.1).done
                stranger.rollback()
                assert asked.result(5).name == "v"
    finally:
        stranger.close()


def test_writers_of_one_process_take_turns_and_none_waits_for_ever(
    dock: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.2)
    with ThreadPoolExecutor(1) as pool:
        with dock._database.transaction():
            with pytest.raises(Unavailable, match="is busy"):
                pool.submit(dock.create_volume, "v").result(10)
            monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 5.0)
            asked = pool.submit(dock.create_volume, "v")
            assert not wait([asked], timeout=0.1).done
        assert asked.result(5).name == "v"


def test_a_thread_that_ends_takes_its_connection_along(dock: Engine) -> None:
    dock.containers()
    before = len(dock._database._opened)
    for _ in range(20):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(dock.containers).result(10)
    gc.collect()  # a connection and its cache of statements hold each other
    assert len(dock._database._opened) == before


def test_a_database_that_cannot_be_written_refuses_changes_and_shows_what_there_is(dock: Engine) -> None:
    dock.create(ContainerSpec(image="busybox", command=("true",), name="seen"))
    dock._database.row("PRAGMA query_only = ON")
    try:
        with pytest.raises(EngineError) as caught:
            dock.create_volume("v")
        assert caught.value.hint
        assert [container.name for container in dock.containers()] == ["seen"]
    finally:
        dock._database.row("PRAGMA query_only = OFF")
    assert not dock.paths.volume("v").exists()
