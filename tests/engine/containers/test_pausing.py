"""Pause and unpause, and what may happen to a container meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from engine import Container, ContainerSpec, EndedBy, Engine, State
from engine.cgroups import manager
from engine.errors import WrongState
from tests.conftest import eventually
from tests.engine.killing import kill, kill_keepers

pytestmark = pytest.mark.one_engine


def ticking(dock: Engine, program: str = "while true; do echo tick; sleep 0.02; done", **options: object) -> Container:
    """A container that writes all the time, once it does."""
    made = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", program), **options))  # type: ignore[arg-type]
    dock.start(made.id)
    assert next(dock.logs(made.id, follow=True)).text == "tick"
    return made


def ticks(dock: Engine, container: Container) -> int:
    return len(list(dock.logs(container.id)))


def ticks_at_rest(dock: Engine, container: Container) -> int:
    """Of one that is paused, once its shim has written down what was in its pipe."""
    seen = -1
    while (now := ticks(dock, container)) != seen:
        seen = now
        threading.Event().wait(0.3)
    return seen


def test_a_paused_container_stands_still_and_goes_on_where_it_was(dock: Engine) -> None:
    container = ticking(dock)
    dock.pause(container.id)
    assert dock.inspect(container.id).state is State.PAUSED
    with Engine(dock.config) as other:
        assert other.inspect(container.id).state is State.PAUSED, "the kernel says so, to whoever asks"
    written = ticks_at_rest(dock, container)
    threading.Event().wait(0.3)
    assert ticks(dock, container) == written
    assert [c.id for c in dock.running()] == [container.id]
    assert dock.counters(container.id).pids
    dock.unpause(container.id)
    assert dock.inspect(container.id).state is State.RUNNING
    assert eventually(lambda: ticks(dock, container) > written)
    assert [e.action for e in dock.events()][-2:] == ["pause", "unpause"]


def test_the_state_is_the_kernels_even_when_somebody_else_froze_it(dock: Engine) -> None:
    container = ticking(dock)
    group = manager.group(dock.instance, container.id)
    group.freeze(10)
    assert dock.inspect(container.id).state is State.PAUSED
    group.thaw()
    assert dock.inspect(container.id).state is State.RUNNING


@pytest.mark.parametrize("number", [9, 15])
def test_a_signal_to_a_paused_container_arrives_and_lets_it_go_on(dock: Engine, number: int) -> None:
    container = ticking(dock, "trap 'exit 5' TERM; while true; do echo tick; sleep 0.02; done")
    dock.pause(container.id)
    dock.kill(container.id, number)
    ended = dock.wait(container.id, timeout_s=10)
    assert (ended.code, ended.signal) == ((137, 9) if number == 9 else (5, None))
    assert ended.ended_by is EndedBy.ENGINE
    assert "unpause" in [e.action for e in dock.events()]


def test_one_that_is_killed_while_paused_runs_no_instruction_more(dock: Engine) -> None:
    container = ticking(dock)
    dock.pause(container.id)
    written = ticks_at_rest(dock, container)
    dock.kill(container.id)
    dock.wait(container.id, timeout_s=10)
    assert ticks(dock, container) == written


@pytest.mark.parametrize("timeout_s", [0, 5, -1])
def test_stop_ends_a_paused_container(dock: Engine, timeout_s: float) -> None:
    container = ticking(dock, "trap 'exit 5' TERM; while true; do echo tick; sleep 0.02; done")
    dock.pause(container.id)
    stopped = dock.stop(container.id, timeout_s)
    assert stopped.state is State.EXITED
    assert stopped.exit is not None
    assert stopped.exit.code == (137 if timeout_s == 0 else 5)


def test_a_paused_container_is_removed_by_force_only(dock: Engine) -> None:
    container = ticking(dock)
    dock.pause(container.id)
    with pytest.raises(WrongState) as refused:
        dock.remove(container.id)
    assert "force" in refused.value.hint
    dock.remove(container.id, force=True)
    assert dock.containers() == []


def test_a_paused_container_whose_shim_was_killed_can_be_stopped(dock: Engine) -> None:
    container = ticking(dock)
    dock.pause(container.id)
    shim = dock._records.shim(container.id)
    assert shim is not None
    kill_keepers(dock)
    kill(shim)
    assert dock.inspect(container.id).state is State.PAUSED
    dock.stop(container.id, 0)
    ended = dock.inspect(container.id)
    assert (ended.state, ended.exit and ended.exit.ended_by) == (State.EXITED, EndedBy.UNKNOWN)


def test_pausing_and_killing_at_once_leaves_nobody_frozen(dock: Engine) -> None:
    for _ in range(6):
        container = ticking(dock)
        gate = threading.Barrier(2)

        def act(name: str, container: Container = container, gate: threading.Barrier = gate) -> None:
            gate.wait()
            with suppress(WrongState):  # whoever comes second
                getattr(dock, name)(container.id)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(act, ("pause", "kill")))
        assert dock.wait(container.id, timeout_s=10).code == 137
        dock.remove(container.id)
