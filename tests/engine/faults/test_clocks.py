"""The wall clock jumps, and nothing that waits notices (F19)."""

from __future__ import annotations

import ast
import inspect
import time

import pytest

from engine import ContainerSpec, Engine, State
from engine.shim.health import Schedule
from engine.shim.restarts import Pauses
from tests.engine.faults.injection import TOP


@pytest.mark.parametrize("jump_s", [86_400, -86_400, -1])
def test_a_clock_that_jumps_moves_no_deadline(dock: Engine, monkeypatch: pytest.MonkeyPatch, jump_s: int) -> None:
    """F19: only what is shown and written down is of the wall clock."""
    script = "trap '' TERM; echo ready; while true; do sleep 1; done"
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script)))
    dock.start(container.id)
    next(dock.logs(container.id, follow=True))
    wall, wall_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: wall() + jump_s)
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + jump_s * 10**9)
    began = time.monotonic()
    stopped = dock.stop(container.id, timeout_s=0.5)
    assert 0.4 < time.monotonic() - began < 8
    assert stopped.exit is not None
    assert stopped.exit.code == 137
    assert dock.start(container.id).state is State.RUNNING


def test_who_waits_in_a_shim_asks_the_monotonic_clock() -> None:
    """F19: backoff, health and restarts are the shim's, and the wall clock is for what is written down: nothing there,
    nor in the launcher, is reckoned with it or compared to it, and no moment is kept to be."""
    found = set()
    for path in (*(TOP / "engine/shim").glob("*.py"), *(TOP / "engine/launcher").glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            inner = {ast.unparse(each) for each in ast.walk(node) if isinstance(each, ast.Call)}
            if "time.time()" in inner:
                found.add((path.name, "time.time()"))
            if isinstance(node, ast.BinOp | ast.Compare | ast.AugAssign) and "time.time_ns()" in inner:
                found.add((path.name, ast.unparse(node)))
    assert not found
    for kind in (Schedule, Pauses):
        assert "time_ns" not in inspect.getsource(kind)


@pytest.mark.parametrize("jump_s", [86_400, -86_400])
def test_a_clock_that_jumps_moves_no_check(monkeypatch: pytest.MonkeyPatch, jump_s: int) -> None:
    """F19, in the shim's own schedule of health checks."""
    check = {"interval_s": 30.0, "start_interval_s": 5.0, "start_period_s": 60.0}
    schedule = Schedule(check)
    assert 0 < schedule.due - time.monotonic() <= 5
    wall, wall_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: wall() + jump_s)
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + jump_s * 10**9)
    assert schedule.begin(), "it still starts"
    schedule.ended(1)
    assert 0 < schedule.due - time.monotonic() <= 5
    schedule.ended(0)
    assert 25 < schedule.due - time.monotonic() <= 30
