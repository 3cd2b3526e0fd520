"""Samples of running containers, from files that stay open."""

from __future__ import annotations

import os

import pytest

from engine import ContainerSpec, Engine
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
    assert held() - before == min(most, 2) * 4
    dock.restart(ids[0], timeout_s=0)
    assert dock.sample()[ids[0]].pids == 1, "it has another group of the same name now"
    for container_id in ids:
        dock.remove(container_id, force=True)
    assert dock.sample() == {}
    assert held() == before
