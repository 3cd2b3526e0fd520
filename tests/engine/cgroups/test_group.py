"""What every group does, on the version of control groups that this host has; `tests.uml` brings the other one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from engine.cgroups import manager, v1
from engine.cgroups.manager import Group
from tests.conftest import eventually
from tests.engine.cgroups.conftest import INSTANCE, LIMITS, member


def test_a_member_is_in_it_in_every_hierarchy(group: Group) -> None:
    read_end, write_end = os.pipe()
    pid = member(group, lambda: os.write(write_end, b"1"))
    os.read(read_end, 1)
    lines = dict(line.split(":")[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    ours = {name for names, path in lines.items() if path == f"/wharfie-{INSTANCE}/one" for name in names.split(",")}
    assert ours >= ({""} if manager.unified_mount() else {"memory", "cpu", "pids", "devices"})
    assert group.pids() == [pid]
    group.kill()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    for descriptor in (read_end, write_end):
        os.close(descriptor)


def test_it_counts_what_its_processes_use(group: Group) -> None:
    kept = []

    def use() -> None:
        kept.append(b"x" * (24 << 20))
        sum(range(500_000))

    pid = member(group, use)
    assert eventually(lambda: manager.usage(group).memory_bytes > 24 << 20)
    assert eventually(lambda: manager.usage(group).cpu_time_ns > 1_000_000)
    assert (manager.usage(group).pids, group.counters().oom_kills) == (1, 0)
    group.kill()
    os.waitpid(pid, 0)
    assert eventually(lambda: group.counters().pids == 0)


def test_a_process_over_the_limit_of_memory_is_killed_and_counted(group: Group) -> None:
    assert group.oom() == (0, None)
    pid = member(group, lambda: b"x" * (80 << 20))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert group.counters().oom_kills == 1
    assert group.oom() == (1, 64 << 20)


def test_killing_ends_those_too_that_fork(group: Group) -> None:
    pid = member(group, lambda: [os.fork() for _ in range(2)])
    assert eventually(lambda: group.counters().pids == 4)
    group.kill()
    os.waitpid(pid, 0)
    assert eventually(lambda: group.pids() == [])


def test_who_has_got_the_number_of_one_that_ended_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """F29, where the kernel offers no kill of a whole group: listed is who was in it, opened is who has the number."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stranger:
        looks = [[stranger.pid], [], []]
        monkeypatch.setattr(v1.Group, "pids", lambda _self: looks.pop(0))
        v1.Group(INSTANCE, "crew").kill()
        assert looks == []
        stranger.communicate()
        assert stranger.returncode == 0


def test_a_limit_that_the_kernel_refuses_is_named(group: Group) -> None:
    with pytest.raises(OSError, match=r"pids\.max"):
        group.limit(LIMITS | {"pids": -2})


def test_it_is_made_once_and_removed_any_number_of_times(group: Group) -> None:
    with pytest.raises(FileExistsError):
        group.create()
    for _ in range(2):
        group.remove()
        with pytest.raises(FileNotFoundError):
            group.counters()
    group.create()


def test_one_that_is_removed_between_the_opening_of_its_file_and_the_use_of_it_is_gone(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says ENODEV then, and not ENOENT: a shim and the engine may clear the same group away."""
    opened = os.open

    def too_late(path: str, flags: int) -> int:
        descriptor = opened(path, flags)
        group.remove()
        return descriptor

    for act, found in ((group.pids, []), (group.frozen, False), (group.kill, None)):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", too_late)
            assert act() == found
        group.create()
    for ask in (group.counters, group.oom):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", too_late)
            with pytest.raises(FileNotFoundError):
                ask()
        group.create()


def test_the_engines_own_has_no_limits_and_may_be_there_already() -> None:
    group = manager.group(INSTANCE, manager.ENGINE_GROUP)
    for _ in range(2):
        group.create(confined=False)
    pid = os.fork()
    if pid == 0:
        signal.pause()
    group.add(pid)
    assert group.pids() == [pid]
    group.kill()
    os.waitpid(pid, 0)
    assert eventually(lambda: not group.pids())
    group.remove()
    manager.remove_instance(INSTANCE)
