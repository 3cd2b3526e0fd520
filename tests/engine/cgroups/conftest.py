"""A group with limits, and processes in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.cgroups import manager
from engine.cgroups.manager import Group
from engine.linux import process
from tests import leaks
from tests.conftest import eventually

INSTANCE = f"t{leaks.session()}-{os.getpid()}"  # after wharfie- as `tests.leaks` knows a session's own
LIMITS: dict[str, Any] = {"memory_bytes": 64 << 20, "memory_swap_bytes": 64 << 20, "cpus": 0.5, "pids": 8}

Member = Callable[[Callable[[], object]], int]


@pytest.fixture
def group() -> Iterator[Group]:
    made = manager.group(INSTANCE, "one")
    made.create()
    made.limit(LIMITS)
    yield made
    made.kill()
    assert eventually(lambda: not made.pids())
    made.remove()
    manager.remove_instance(INSTANCE)


def member(group: Group, act: Callable[[], object]) -> int:
    """A process that went into the group as a container's first one does, does ``act`` and waits to be killed."""
    birthplace, doors = group.birthplace(), group.doors()
    told, tell = os.pipe()
    # Whoever runs tests has threads, and clone3(2) is for a process that has none: so fork(2) comes first.
    carrier = os.fork()
    if carrier == 0:
        try:
            pid, _ = process.clone3(process.CLONE_PARENT, cgroup_fd=birthplace)
            if pid:
                os.write(tell, b"%d" % pid)
                os._exit(0)
            for door in doors:
                os.write(door, b"0")
            act()
            signal.pause()
        finally:
            os._exit(1)
    os.waitpid(carrier, 0)
    pid = int(os.read(told, 16))
    for descriptor in (told, tell, birthplace, *doors):
        if descriptor is not None:
            os.close(descriptor)
    return pid


def holding(group: Group, count: int) -> int:
    """A member that holds so many bytes, and has them on return."""
    read_end, write_end = os.pipe()

    def hold() -> None:
        kept.append(b"x" * count)
        os.write(write_end, b"1")

    kept: list[bytes] = []
    pid = member(group, hold)
    os.read(read_end, 1)
    for descriptor in (read_end, write_end):
        os.close(descriptor)
    return pid


def end(group: Group, pid: int) -> None:
    """Kill all in it, and reap the one that this process made."""
    group.kill()
    os.waitpid(pid, 0)


def setting(v1: str, v2: str) -> str:
    """What one file of the group holds, by either version's name."""
    mount = manager.unified_mount()
    path = (
        f"{mount}/wharfie-{INSTANCE}/one/{v2}"
        if mount
        else f"/sys/fs/cgroup/{v1.partition('.')[0]}/wharfie-{INSTANCE}/one/{v1}"
    )
    with open(path) as file:
        return file.read().strip()
