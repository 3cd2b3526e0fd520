"""Samples of running containers, from files that stay open."""

from __future__ import annotations

import os

import pytest

from engine import ContainerSpec, Engine, EventFilter, ExecSpec, Limits, State
from engine.metrics.sampler import Sampler


def held() -> int:
    """How many files of control groups this process has open."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{number}").startswith("/sys/fs/cgroup/")
        except FileNotFoundError:  # the one that lists them
            continue
    return count


@pytest.mark.parametrize("most", [0, 1, 128])
def test_a_run_is_followed_by_the_next_and_nothing_stays_open(
    dock: Engine, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(Sampler, "MOST_KEPT", most)
    before = held()
    ids = [dock.start(dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id).id for _ in range(2)]
    first = dock.sample()
    assert {cid: sample.pids for cid, sample in first.items()} == dict.fromkeys(ids, 1)
    assert all(sample.cpu_time_ns > 0 < sample.memory_bytes for sample in first.values())
    assert dock.sample()[ids[0]].time_ns > first[ids[0]].time_ns
    assert held() - before == min(most, 2) * 5
    dock.restart(ids[0], timeout_s=0)
    assert dock.sample()[ids[0]].pids == 1, "it has another group of the same name now"
    for container_id in ids:
        dock.remove(container_id, force=True)
    assert dock.sample() == {}
    assert held() == before


GREEDY = "x=a; while true; do x=$x$x; done"


def test_an_event_tells_of_a_child_that_was_killed_for_memory(dock: Engine) -> None:
    """F9: the container goes on, and nothing else would say it."""
    limits = Limits(memory_bytes=16 << 20)
    container = dock.start(dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"), limits=limits)).id)

    def lose() -> None:
        with dock.exec(container.id, ExecSpec(("sh", "-c", GREEDY), stdin=False)) as execution:
            assert execution.output(timeout_s=20)[0] == 137

    def told() -> list[int]:
        dock.sample()
        found = dock.find_events(EventFilter(action="oom", object_id=container.id))
        assert {(event.name, event.by) for event in found} <= {(container.name, "")}
        return [event.detail["killed"] for event in found]

    assert told() == []
    lose()
    assert told() == [1]
    assert told() == [1], "once"
    assert dock.inspect(container.id).state is State.RUNNING
    lose()
    lose()
    assert told() == [2, 1]
    dock.restart(container.id, timeout_s=0)
    assert told() == [2, 1]
    lose()
    assert told() == [1, 2, 1], "its next run is counted from nothing"
