"""Groups that stand still."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.cgroups import manager, v1, v2
from engine.cgroups.counters import GONE
from engine.cgroups.manager import Group
from tests.conftest import eventually
from tests.engine.cgroups.conftest import end, member


def spin() -> None:
    while True:
        pass


def test_what_is_frozen_does_not_run_until_it_is_thawed(group: Group) -> None:
    pid = member(group, spin)
    assert eventually(lambda: manager.usage(group).cpu_time_ns > 20_000_000)
    assert not group.frozen()
    group.freeze(10)
    assert group.frozen()
    before = manager.usage(group).cpu_time_ns
    threading.Event().wait(0.3)
    assert manager.usage(group).cpu_time_ns - before < 1_000_000
    group.thaw()
    group.thaw()
    assert not group.frozen()
    assert eventually(lambda: manager.usage(group).cpu_time_ns > before + 20_000_000)
    end(group, pid)


def test_all_its_processes_stand_still_those_that_fork_too(group: Group) -> None:
    def fork() -> None:
        while True:
            if os.fork() == 0:
                os._exit(0)
            os.wait()

    pid = member(group, fork)
    assert eventually(lambda: manager.usage(group).cpu_time_ns > 20_000_000)
    for _ in range(20):
        group.freeze(10)
        threading.Event().wait(0.02)  # a kernel that charges by ticks is one behind
        before = group.pids(), manager.usage(group).cpu_time_ns
        threading.Event().wait(0.01)
        assert (group.pids(), manager.usage(group).cpu_time_ns) == before
        group.thaw()
    end(group, pid)


def test_killing_ends_what_is_frozen(group: Group) -> None:
    pid = member(group, lambda: [os.fork() for _ in range(2)])
    assert eventually(lambda: manager.usage(group).pids == 4)
    group.freeze(10)
    group.kill()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert eventually(lambda: group.pids() == [])


def test_a_group_that_is_gone_is_not_frozen(group: Group) -> None:
    group.remove()
    assert not group.frozen()
    with pytest.raises(FileNotFoundError):
        group.freeze(1)


def test_a_freezing_ends_when_the_group_goes_meanwhile(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed by somebody else, say. That it is gone wakes nobody."""
    begun = threading.Event()
    for module in (v1, v2):  # so that it never stands still
        monkeypatch.setattr(module, "write_text", lambda *_of: begun.set())

    with ThreadPoolExecutor(1) as pool:
        freezing = pool.submit(group.freeze, 60)
        begun.wait()
        threading.Event().wait(0.05)  # it waits by now
        group.remove()
        error = freezing.exception(20)
    assert isinstance(error, OSError)
    assert error.errno in GONE
