"""The doctor names what is wrong, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine import Container, ContainerSpec, Engine, VolumeMount, doctor
from engine.config import Config
from engine.linux.probe import Check
from engine.shim.protocol import listen
from tests.conftest import eventually
from tests.engine.killing import kill, kill_keepers


@pytest.fixture
def healthy(dock: Engine) -> Container:
    dock.create_volume("cargo")
    mounts = (VolumeMount("cargo", "/cargo"),)
    container = dock.create(ContainerSpec(image="busybox", name="one", volumes=mounts, command=("sleep", "1000")))
    return dock.start(container.id)


@pytest.fixture
def damaged(dock: Engine) -> Iterator[Path]:
    """state.db, closed and all in one file, to be spoilt; the rest of the session finds it as it was."""
    dock.close()
    with closing(sqlite3.connect(dock.paths.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        whole = connection.serialize()
    remnants = [dock.paths.database.with_name(f"state.db{suffix}") for suffix in ("-wal", "-shm")]
    for path in remnants:
        path.unlink(missing_ok=True)
    yield dock.paths.database
    for path in remnants:
        path.unlink(missing_ok=True)
    dock.paths.database.write_bytes(whole)


def bad(engine: Engine, *, deep: bool = False) -> dict[str, Check]:
    return {check.name: check for check in doctor.examine(engine.config, deep=deep) if not check.ok}


def test_nothing_is_wrong_with_a_store_at_work(dock: Engine, healthy: Container) -> None:
    assert bad(dock, deep=True) == {}
    dock.remove("one", force=True)
    assert bad(dock, deep=True) == {}


def test_a_place_without_a_store_is_no_fault(config: Config) -> None:
    assert [check for check in doctor.examine(config) if not check.ok] == []
    assert list(config.root.iterdir()) == [], "looking changes nothing"


def test_every_fault_comes_with_a_hint(dock: Engine, healthy: Container) -> None:
    dock.stop("one", timeout_s=0)
    paths = dock.paths
    layer = dock.image("busybox").layers[0].diff_id
    (paths.layers / ("0" * 64)).mkdir()
    (paths.volumes / "stray").mkdir()
    (paths.layer(layer) / "opt/text").write_text("another")
    paths.volume("cargo").rmdir()
    with dock._database.transaction() as connection:
        connection.execute("UPDATE containers SET spec = '{'")
    listen(str(paths.shims / f"{'1' * 64}.sock")).close()
    found = bad(dock, deep=True)
    assert set(found) == {"records", "orphaned files", "layers", "sockets and mounts"}
    assert "container one was created with cannot be read" in found["records"].text
    assert "volume cargo has lost its directory" in found["records"].text
    assert found["orphaned files"].text == f"layers/{'0' * 64}; volumes/stray"
    assert layer[:19] in found["layers"].text
    assert f"{'1' * 64}.sock" in found["sockets and mounts"].text
    assert all(check.hint for check in found.values())


def test_a_container_without_its_shim_and_what_that_leaves(dock: Engine, healthy: Container) -> None:
    record = dock._records.running(healthy.id)
    assert record is not None
    kill_keepers(dock)
    kill(record["shim_pid"])
    assert eventually(lambda: "without its shim" in bad(dock).get("shims", Check("", True, False, "", "")).text)
    os.kill(record["pid"], signal.SIGKILL)
    assert eventually(lambda: dock._records.running(healthy.id) is None)
    found = bad(dock)
    assert "left by a shim that was killed" in found["shims"].text
    dock.remove("one")
    assert bad(dock) == {}


def test_a_container_that_the_store_does_not_know(dock: Engine, healthy: Container) -> None:
    with closing(sqlite3.connect(dock.paths.database)) as connection, connection:
        row = connection.execute("SELECT * FROM containers").fetchone()
        connection.execute("DELETE FROM containers")
    assert f"container {healthy.short_id} runs (pid {healthy.pid}) and is not in state.db" in bad(dock)["shims"].text
    with closing(sqlite3.connect(dock.paths.database)) as connection, connection:
        connection.execute(f"INSERT INTO containers VALUES ({', '.join('?' * len(row))})", row)
    assert "shims" not in bad(dock)


def test_a_damaged_database_is_fatal(dock: Engine, damaged: Path) -> None:
    with open(damaged, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))
    found = bad(dock)
    assert found["state.db"].fatal
    assert "backups" in found["state.db"].hint


def test_a_disk_that_is_nearly_full(dock: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(dock.paths.root)

    class Full:
        f_frsize, f_blocks, f_bavail = real.f_frsize, real.f_blocks, 10
        f_files, f_favail = 1_000_000, 7

    monkeypatch.setattr(os, "statvfs", lambda _place: Full)
    text = bad(dock)["disk"].text
    assert "0 MiB are left" in text
    assert "7 files more" in text


def test_limits_and_clocks_that_are_too_low(dock: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pid_max").write_text("300\n")
    monkeypatch.setattr(doctor.host, "LIMITS", {str(tmp_path / "pid_max"): 32_768, str(tmp_path / "absent"): 1})
    monkeypatch.setattr(doctor.host, "RELEASED_S", 2**40)
    os.utime(dock.paths.database, (2**33, 2**33))
    found = bad(dock)
    assert "is 300, and 32768 is advised" in found["kernel limits"].text
    assert "state.db was written in the future" in found["clock"].text
    os.utime(dock.paths.database)


def test_a_port_where_nothing_listens(dock: Engine, healthy: Container) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dock.paths.address.write_text(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert "console" not in bad(dock)
    assert "nothing listens at http://127.0.0.1" in bad(dock)["console"].text


@pytest.fixture
def resting(dock: Engine, healthy: Container) -> Container:
    return dock.stop(healthy.id, timeout_s=0)


@pytest.mark.parametrize("damage", ["bytes", "a table"])
def test_what_cannot_be_read_makes_nothing_an_orphan(
    dock: Engine, resting: Container, damaged: Path, damage: str
) -> None:
    if damage == "bytes":
        damaged.write_bytes(b"no database")
    else:
        with closing(sqlite3.connect(damaged)) as connection:
            connection.execute("ALTER TABLE containers RENAME TO others")
    found = bad(dock, deep=True)
    assert set(found) == {"state.db"}, "and nobody is told to delete what is there"
    assert found["state.db"].fatal


def test_a_directory_of_the_store_that_is_lost(dock: Engine) -> None:
    dock.paths.volumes.rmdir()
    found = bad(dock, deep=True)
    assert set(found) == {"directories"}
    assert str(dock.paths.volumes) in found["directories"].text


def test_after_a_reboot_what_is_volatile_is_no_fault(dock: Engine, config: Config, tmp_path: Path) -> None:
    rebooted = Config(config.root, tmp_path / "run")
    assert [check for check in doctor.examine(rebooted) if not check.ok] == []


def test_records_that_are_none_are_no_runs(dock: Engine) -> None:
    for number, text in enumerate(("[]", "3", "null", '{"pid": "x"}')):
        (dock.paths.shims / f"{str(number) * 64}.json").write_text(text)
    assert set(bad(dock)) == {"shims"}, "one of them is a record, of nothing that lives"


def test_a_layer_that_cannot_be_read_and_what_all_weigh(dock: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    good = next(check for check in doctor.examine(dock.config, deep=True) if check.name == "layers")
    assert good.text.startswith("1 of them, ")
    assert good.text.endswith(" MiB, can be read and weigh what they did")
    real = os.scandir

    def broken(place: int | str) -> object:
        if isinstance(place, int) and os.readlink(f"/proc/self/fd/{place}").endswith("/opt"):
            raise OSError(5, "Input/output error", "opt")
        return real(place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", broken)
        found = bad(dock, deep=True)
    assert "Input/output error: opt" in found["layers"].text
