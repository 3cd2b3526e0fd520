"""Stores on disks that are full, or that lose their power (F5, F6)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine import Config, ContainerSpec, Engine, EngineError, State
from engine.storage import instance
from tests import leaks
from tests.conftest import eventually, stop_launcher
from tests.images import busybox_rootfs
from tests.small_disks import MIB, fill, mounted
from tests.soak import amount

CUTS = amount(6, 200)


@contextmanager
def engine_on(top: Path, run: Path) -> Iterator[Engine]:
    """An engine whose store lies on a file system of its own; nothing of it is left."""
    config = Config(root=top / "store", run=run)
    with Engine(config, spawn_launcher=True) as engine:
        try:
            yield engine
        finally:
            for container in engine.containers():
                engine.remove(container.id, force=True)
            stop_launcher(config)
            instance.release(instance.instance_id(config))
    shutil.rmtree(run)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Path:
    return Path("/run") / f"{leaks.NAME}{leaks.session()}-{os.getpid()}-{request.node.originalname[5:15]}"


@pytest.mark.parametrize("what", ["bytes", "files"])
def test_a_full_store_says_so_and_can_be_cleared_from_within(tmp_path: Path, run: Path, what: str) -> None:
    archive = busybox_rootfs(tmp_path / "busybox.tar")
    small = ("-t", "tmpfs", "-o", "size=600m,nr_inodes=400,mode=700", "none")
    with contextlib.ExitStack() as stack:
        top = stack.enter_context(mounted(*small, at=tmp_path / "disk"))
        engine = stack.enter_context(engine_on(top, run))
        engine.load_image(archive, name="busybox")
        for name in ("keeps", "goes"):
            engine.create(ContainerSpec(image="busybox", name=name, command=("sleep", "1000")))
        engine.start("keeps")
        engine.create_volume("goes")
        before = leaks.store(engine.config.root)
        filled = fill(top, what)
        for act in (
            lambda: engine.create(ContainerSpec(image="busybox", name="more", command=("true",))),
            lambda: engine.create_volume("more"),
            lambda: engine.load_image(archive, name="more/again"),
        ):
            with pytest.raises(EngineError, match="No space left"):
                act()
        assert engine.inspect("keeps").state is State.RUNNING
        engine.stop("keeps", 0)
        assert engine.inspect("keeps").state is State.EXITED
        engine.remove("goes")
        engine.remove_volume("goes")
        for path in filled:
            path.unlink()
        engine.tidy()
        assert eventually(lambda: not os.listdir(engine.paths.trash))
        found = leaks.store(engine.config.root)
        gone = {line for line in leaks.new(before, found) if "more" not in line and "keeps" not in line}
        assert not [line for line in gone if line.startswith("blob") and "/log/" not in line and "exit" not in line]
        engine.start("keeps")
        assert engine.inspect("keeps").state is State.RUNNING, "it recovers without a restart"


def test_a_power_cut_leaves_a_valid_store(tmp_path: Path, run: Path) -> None:
    """The disk as it is at some moment, without what was only in memory: ext4 replays its journal over it."""
    archive = busybox_rootfs(tmp_path / "busybox.tar")
    image = tmp_path / f"{leaks.NAME}{leaks.session()}-disk.img"
    image.touch()
    os.truncate(image, 600 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    with mounted("-o", "loop", str(image), at=tmp_path / "disk") as top, engine_on(top, run) as engine:
        engine.load_image(archive, name="busybox")
        for number in range(CUTS):
            engine.create(ContainerSpec(image="busybox", name=f"boat-{number}", command=("true",)))
            engine.create_volume(f"hold-{number}")
            if number % 2:
                engine.remove(f"boat-{number - 1}")
                engine.remove_volume(f"hold-{number - 1}")
            cut = tmp_path / "cut.img"
            subprocess.run(["cp", "--sparse=always", str(image), str(cut)], check=True)
            told = {c.name for c in engine.containers()}, {v.name for v in engine.volumes()}
            with mounted("-o", "loop", str(cut), at=tmp_path / "after") as after:
                look(after / "store", *told)
            cut.unlink()


def look(store: Path, containers: set[str], volumes: set[str]) -> None:
    """What was said to be done is there after the cut; read without an engine, for ids may not be claimed twice."""
    script = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1])\n"
        "assert c.execute('PRAGMA integrity_check').fetchone() == ('ok',)\n"
        "print(*(n for n, in c.execute('SELECT name FROM containers')))\n"
        "print(*(n for n, in c.execute('SELECT name FROM volumes')))\n"
        "print(*(n for n, in c.execute('SELECT id FROM containers')))\n"
        "print(*(n for n, in c.execute('SELECT diff_id FROM layers')))\n"
    )
    done = subprocess.run(["python3", "-c", script, store / "state.db"], capture_output=True, text=True, check=True)
    names, held, ids, layers = (set(line.split()) for line in done.stdout.split("\n")[:4])
    assert names == containers
    assert held == volumes
    assert {path.name for path in (store / "volumes").iterdir()} >= volumes
    assert {path.name for path in (store / "containers").iterdir()} >= ids, "a row has its directory"
    for layer in layers:
        tree = store / "layers" / layer.removeprefix("sha256:")
        assert (tree / "bin" / "busybox").read_bytes() == Path("/bin/busybox").read_bytes(), "whole or absent"
