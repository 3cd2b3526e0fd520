"""Many lives of containers, volumes and images, some of which fail: nothing of 16 kinds is left (F16)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import ContainerSpec, Engine, EngineError, ExecSpec, VolumeMount
from tests import leaks
from tests.conftest import eventually, shims
from tests.images import busybox_rootfs
from tests.soak import amount

CYCLES = amount(200, 10_000)
WARM_UP = min(20, CYCLES)  # caches fill: Python's, SQLite's, the allocator's
GROWTH = 1.05


def resident_bytes(pid: int) -> int:
    """What a process has in memory, shared pages in full: how many share them changes from moment to moment."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def everything(engine: Engine) -> leaks.Snapshot:
    """What this process and this instance have. Of the host's kinds, which others' tests change meanwhile, those with
    the instance's name; the check at the end of the run sees all of them."""
    ours = (engine.instance, engine.config.run.name, engine.config.root.name)
    host = {
        kind: {line for line in lines if any(name in line for name in ours)} for kind, lines in leaks.host().items()
    }
    own = {"descriptor": leaks.descriptors(), "thread": leaks.threads()}
    return host | own | leaks.store(engine.config.root)


def cycle(dock: Engine, number: int, archive: Path) -> None:
    """One life: it runs, is entered, ends or is ended, and goes. Some never come to run."""
    dock.create_volume("data")
    name = f"churn-{number}"
    command = ("true",) if number % 3 else ("sleep", "1000")
    if number % 5 == 4:
        command = ("nothing-of-that-name",)
    volumes = (VolumeMount("data", "/data"),)
    container = dock.create(ContainerSpec(image="busybox", command=command, name=name, volumes=volumes))
    if command[0].startswith("nothing"):
        with pytest.raises(EngineError):
            dock.start(name)
    else:
        dock.start(name)
    if command[0] == "sleep":
        with dock.exec(name, ExecSpec(("true",))) as execution:
            assert execution.output(timeout_s=30)[0] == 0
        if number % 2:
            dock.pause(name)
    dock.remove(container.id, force=True)
    dock.remove_volume("data")
    if number % 40 == 0:
        dock.load_image(archive, name="other")
        dock.remove_image("other")


def test_nothing_is_left_of_many_lives(dock: Engine, tmp_path: Path) -> None:
    archive = busybox_rootfs(tmp_path / "other.tar")
    with archive.open("ab") as file:
        file.write(bytes(512))  # other bytes, so another image
    for number in range(WARM_UP):
        cycle(dock, number, archive)
    launcher = answering(str(dock.paths.launcher_socket))
    assert launcher
    assert eventually(lambda: not shims(launcher))
    before = everything(dock)
    assert len(before) == 16, "as docs/faults.md says"
    weights = {pid: resident_bytes(pid) for pid in (os.getpid(), launcher)}
    for number in range(CYCLES):
        cycle(dock, number, archive)
        # The same launcher, for otherwise it would be another one's memory.
    assert answering(str(dock.paths.launcher_socket)) == launcher
    assert eventually(lambda: not shims(launcher))
    grown = {pid: resident_bytes(pid) for pid in weights}  # first: while one looks for long, nobody needs a launcher
    assert leaks.remaining(before, lambda: everything(dock)) == []
    for pid, weight in weights.items():
        assert grown[pid] <= weight * GROWTH
