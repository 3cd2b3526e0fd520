"""Shims and launchers of another version than the engine that looks at them."""

from __future__ import annotations

import time

import pytest

from console.supervisor import answering
from engine import ContainerSpec, Engine, ExecSpec, State, WaitFor
from engine.containers import shims
from engine.errors import Unsupported
from engine.launcher import start
from engine.shim import protocol
from tests.conftest import eventually

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
