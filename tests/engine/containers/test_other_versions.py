"""Shims and launchers of another version than the engine that looks at them."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import ContainerSpec, Engine, ExecSpec, State, WaitFor
from engine.config import Config
from engine.containers import shims
from engine.errors import Unsupported
from engine.launcher import start
from engine.shim import protocol
from tests.conftest import eventually, stop_launcher
from tests.engine.killing import adopted, kill, shim
from tests.images import busybox_rootfs

TOP = Path(__file__).parents[3]
# Engines of before, by their protocol: `git archive COMMIT engine | xz`, when that or what a shim does changes. That of
# the present protocol is older code.
BEFORE = {path.name.removesuffix(".tar.xz"): path for path in (TOP / "tests/fixtures").glob("engine-*.tar.xz")}
OLD = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from engine import Config, ContainerSpec, Engine
with Engine(Config(Path(sys.argv[2]), Path(sys.argv[3])), spawn_launcher=True) as engine:
    engine.load_image(Path(sys.argv[4]), name="busybox")
    made = engine.create(ContainerSpec(image="busybox", name="old", command=("sh", "-c", sys.argv[5])))
    engine.start(made.id)
    from engine.shim import protocol
    print(json.dumps([made.id, protocol.VERSION, protocol.__file__]))
"""
TRAP = "trap 'exit 4' TERM; echo up; while :; do sleep 0.1; done"


@pytest.fixture
def running(dock: Engine) -> str:
    container = dock.create(ContainerSpec(image="busybox", name="old", command=("sh", "-c", TRAP)))
    dock.start(container.id)
    assert eventually(lambda: list(dock.logs("old")))
    return container.id


def test_a_shim_of_the_version_before_is_served_to_its_end(
    dock: Engine, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "VERSION", protocol.VERSION + 1)
    assert dock.inspect(running).state is State.RUNNING
    with dock.exec(running, ExecSpec(("echo", "further"))) as execution:
        assert execution.output(timeout_s=10) == (0, b"further\n", b"")
    terminal = dock.terminal(running, ExecSpec(("cat",)))
    assert [info.session for info in dock.terminals(running)] == [terminal.info.session]
    terminal.close()
    dock.end_terminal(running, terminal.info.session)
    dock.pause(running)
    assert dock.inspect(running).state is State.PAUSED
    dock.unpause(running)
    dock.stop(running)
    ended = dock.wait_for(running, WaitFor.NOT_RUNNING, timeout_s=10)
    assert ended is not None
    assert ended.code == 4


def test_what_an_older_shim_cannot_do_is_said_with_both_versions(
    dock: Engine, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = protocol.VERSION, protocol.VERSION + 1
    monkeypatch.setattr(protocol, "VERSION", new)
    with pytest.raises(Unsupported, match=rf"older Wharfie: its shim speaks protocol {old}, not {new}, and knows no"):
        shims.ask(dock.paths, running, {"op": "of tomorrow"}, 5)


def test_a_shim_of_a_newer_version_is_let_be(dock: Engine, running: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = protocol.VERSION - 1, protocol.VERSION
    with monkeypatch.context() as patch:
        patch.setattr(protocol, "VERSION", old)
        for act in (
            lambda: dock.stop(running, timeout_s=0),
            lambda: dock.kill(running),
            lambda: dock.remove(running, force=True),
            lambda: dock.restart(running),
            lambda: dock.exec(running, ExecSpec(("true",))),
            lambda: dock.terminal(running, ExecSpec(("true",))),
        ):
            with pytest.raises(Unsupported, match=rf"newer Wharfie: its shim speaks protocol {new}, this one {old}"):
                act()
        assert dock.inspect(running).state is State.RUNNING
    dock.kill(running)
    assert dock.wait(running, timeout_s=10).code == 137, "nothing had been lost"


def test_a_launcher_of_an_older_version_refuses_a_newer_request(
    dock: Engine, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = protocol.VERSION, protocol.VERSION + 1
    container = dock.create(ContainerSpec(image="busybox", command=("true",)))
    monkeypatch.setattr(protocol, "VERSION", new)
    with pytest.raises(Unsupported, match=rf"older Wharfie: it speaks protocol {old}, not {new}"):
        dock.start(container.id)
    assert dock.inspect(container.id).state is State.CREATED
    assert dock.inspect(running).state is State.RUNNING


def test_a_launcher_of_other_code_goes_and_containers_stay(
    dock: Engine, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = answering(str(dock.paths.launcher_socket))
    assert not start.retire_other(pid), "of the same code it stays"
    with monkeypatch.context() as patch:
        patch.setattr(start, "build", lambda: "another")
        began = time.monotonic()
        assert start.retire_other(pid)
        assert time.monotonic() - began < start.RETIRE_S
        assert not answering(str(dock.paths.launcher_socket))
    assert dock.inspect(running).state is State.RUNNING
    dock.stop(running)
    assert dock.wait(running, timeout_s=10).code == 4


def test_an_engine_of_each_protocol_is_kept() -> None:
    assert {f"engine-{version}" for version in range(2, protocol.VERSION)} <= BEFORE.keys()


@pytest.mark.parametrize("before", sorted(BEFORE))
def test_containers_of_the_code_of_before_live_on_under_this(before: str, config: Config, tmp_path: Path) -> None:
    with tarfile.open(BEFORE[before]) as tar:
        tar.extractall(tmp_path / before, filter="data")
    archive = busybox_rootfs(tmp_path / "busybox.tar")
    words = [str(tmp_path / before), str(config.root), str(config.run), str(archive), TRAP]
    said = subprocess.run([sys.executable, "-I", "-c", OLD, *words], stdout=subprocess.PIPE, check=True).stdout
    old, version, where = json.loads(said)
    assert (f"engine-{version}", where.startswith(words[0])) == (before, True)
    with Engine(config, spawn_launcher=True) as engine:
        assert start.retire_other(answering(str(engine.paths.launcher_socket)))
        first, pid = shim(engine, engine.inspect(old)), engine.inspect(old).pid
        assert eventually(lambda: [line.text for line in engine.logs(old)] == ["up"])
        with engine.exec(old, ExecSpec(("sh", "-c", "cat; exit 3"))) as execution:
            assert execution.output(b"further\n", timeout_s=10) == (3, b"further\n", b"")
        terminal = engine.terminal(old, ExecSpec(("cat",)))
        assert [info.session for info in engine.terminals(old)] == [terminal.info.session]
        terminal.close()
        engine.end_terminal(old, terminal.info.session)
        engine.pause(old)
        assert engine.inspect(old).state is State.PAUSED
        engine.unpause(old)
        engine.rename(old, "aged")
        young = engine.create(ContainerSpec(image="busybox", name="young", command=("sleep", "1000")))
        assert engine.start(young.id).state is State.RUNNING
        assert shim(engine, engine.inspect(old)) == first, "the same process all the time"
        kill(first)
        assert adopted(engine, engine.inspect(old), first), "the new launcher gives it a shim of today"
        assert engine.inspect(old).pid == pid
        with engine.exec(old, ExecSpec(("echo", "again"))) as execution:
            assert execution.output(timeout_s=10) == (0, b"again\n", b"")
        engine.stop(old)
        assert engine.wait(old, timeout_s=10).code == 4
        for each in (old, young.id):
            engine.remove(each, force=True)
    stop_launcher(config)
