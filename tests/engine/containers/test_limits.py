"""Limits of containers: changed while they run, kept for the next start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import Container, ContainerSpec, Engine, IoLimit, Limits, RestartPolicy, State
from engine.cgroups import manager
from engine.errors import AlreadyExists, Busy, InvalidRequest, Unsupported
from tests.conftest import eventually

pytestmark = pytest.mark.one_engine

MIB = 1 << 20
START = Limits(memory_bytes=64 * MIB, cpus=0.5, pids=50)


@pytest.fixture
def running(dock: Engine) -> Container:
    made = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "echo up; sleep 1000; true"), limits=START))
    started = dock.start(made.id)
    assert next(dock.logs(made.id, follow=True)).text == "up"
    return started


def kernel(dock: Engine, container: Container) -> dict[str, int]:
    """What the kernel enforces, in bytes, hundredths of a core and processes."""
    name = f"wharfie-{dock.instance}/{container.id}"
    if mount := manager.unified_mount():
        read = lambda file: Path(mount, name, file).read_text().split()  # noqa: E731
        memory = int(read("memory.max")[0])
        both, quota = memory + int(read("memory.swap.max")[0]), read("cpu.max")[0]
        pids = read("pids.max")[0]
    else:
        one = lambda kind, file: Path("/sys/fs/cgroup", kind, name, file).read_text()  # noqa: E731
        memory = int(one("memory", "memory.limit_in_bytes"))
        both, quota = int(one("memory", "memory.memsw.limit_in_bytes")), one("cpu", "cpu.cfs_quota_us")
        pids = one("pids", "pids.max")
    return {"memory": memory, "both": both, "cpu": int(quota) // 1000, "pids": int(pids)}


def test_limits_change_at_once_and_hold_for_the_next_start(dock: Engine, running: Container) -> None:
    assert kernel(dock, running) == {"memory": 64 * MIB, "both": 64 * MIB, "cpu": 50, "pids": 50}
    wanted = Limits(memory_bytes=96 * MIB, cpus=0.25, pids=60)
    changed = dock.update(running.id, wanted)
    now = {"memory": 96 * MIB, "both": 96 * MIB, "cpu": 25, "pids": 60}
    assert kernel(dock, running) == now
    assert (changed.pid, changed.state) == (running.pid, State.RUNNING)
    assert changed.spec.limits == Limits(96 * MIB, 96 * MIB, 0.25, 60), "one without swap stays without"
    dock.restart(running.id, 0)
    assert kernel(dock, running) == now
    assert [e.action for e in dock.events() if e.action == "update"] == ["update"]


def test_what_is_not_given_stays(dock: Engine, running: Container) -> None:
    before = kernel(dock, running)
    dock.update(running.id, Limits(pids=70))
    assert kernel(dock, running) == before | {"pids": 70}


@pytest.mark.parametrize(("memory", "both"), [(128, 256), (16, 256), (16, 16), (64, 64)])
def test_memory_and_swap_go_up_and_down(dock: Engine, running: Container, memory: int, both: int) -> None:
    dock.update(running.id, Limits(memory_bytes=32 * MIB, memory_swap_bytes=48 * MIB))
    dock.update(running.id, Limits(memory_bytes=memory * MIB, memory_swap_bytes=both * MIB))
    now = kernel(dock, running)
    assert (now["memory"], now["both"]) == (memory * MIB, both * MIB)


def test_one_that_does_not_run_has_them_from_its_next_start(dock: Engine) -> None:
    made = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"), limits=START))
    dock.update(made.id, Limits(cpus=0.1))
    dock.start(made.id)
    assert kernel(dock, made)["cpu"] == 10


def test_less_memory_than_is_used_is_refused_and_nothing_changes(dock: Engine) -> None:
    grow = "x=a; while [ ${#x} -lt 12000000 ]; do x=$x$x; done; echo up; sleep 1000; true"
    made = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", grow), limits=START))
    started = dock.start(made.id)
    assert next(dock.logs(made.id, follow=True)).text == "up"
    before = kernel(dock, made)
    with pytest.raises(Busy) as refused:
        dock.update(made.id, Limits(memory_bytes=6 * MIB, cpus=0.1, pids=40))
    assert refused.value.field == "memory"
    assert refused.value.hint
    assert kernel(dock, made) == before
    now = dock.inspect(made.id)
    assert (now.pid, now.spec.limits) == (started.pid, started.spec.limits)


def test_fewer_processes_than_run_are_refused(dock: Engine, running: Container) -> None:
    assert eventually(lambda: dock.counters(running.id).pids == 2)
    with pytest.raises(Busy) as refused:
        dock.update(running.id, Limits(pids=1))
    assert refused.value.field == "pids"


IMPOSSIBLE = (
    (Limits(memory_bytes=2**50), "memory"),
    (Limits(memory_bytes=4096), "memory"),
    (Limits(memory_swap_bytes=32 * MIB), "memory_swap"),
    (Limits(cpus=9999.0), "cpus"),
    (Limits(cpus=0.0), "cpus"),
    (Limits(pids=0), "pids"),
    (Limits(cpu_shares=1), "cpu_shares"),
    (Limits(io_weight=5), "io_weight"),
    (Limits(cpuset_cpus="4000"), "cpuset_cpus"),
    (Limits(cpuset_cpus="0-"), "cpuset_cpus"),
    (Limits(cpuset_cpus="3-1"), "cpuset_cpus"),
    (Limits(cpuset_mems="60"), "cpuset_mems"),
    (Limits(io=(IoLimit("/dev/null", 1),)), "io"),
    (Limits(io=(IoLimit("/etc/passwd", 1),)), "io"),
    (Limits(io=(IoLimit("999:999", 1),)), "io"),
)


def test_what_the_host_cannot_give_is_refused_whether_it_runs_or_not(dock: Engine, running: Container) -> None:
    still = dock.create(ContainerSpec(image="busybox", command=("true",), limits=START))
    before = kernel(dock, running)
    for wanted, field in IMPOSSIBLE:
        for container in (running, still):
            with pytest.raises(InvalidRequest) as refused:
                dock.update(container.id, wanted)
            assert refused.value.field == field, wanted
            assert refused.value.hint
    assert kernel(dock, running) == before


def test_the_kernel_and_the_store_agree_when_the_store_fails(
    dock: Engine, running: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kernel(dock, running)
    real = dock.event_log.add

    def full(*arguments: object, **details: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(dock.event_log, "add", full)
    with pytest.raises(RuntimeError, match="full"):
        dock.update(running.id, Limits(memory_bytes=96 * MIB, pids=9), RestartPolicy.parse("always"), name="other")
    monkeypatch.setattr(dock.event_log, "add", real)
    assert kernel(dock, running) == before
    assert dock.inspect(running.id).spec == running.spec
    assert not dock.paths.restart(running.id).exists()
    assert f'"pids": {START.pids}' in dock.paths.request(running.id).read_text()


def test_all_of_an_update_is_one_version_and_a_taken_name_leaves_all_as_it_was(
    dock: Engine, running: Container
) -> None:
    before = kernel(dock, running)
    dock.create(ContainerSpec(image="busybox", name="taken", command=("true",)))
    wanted = Limits(memory_bytes=96 * MIB), RestartPolicy.parse("always")
    with pytest.raises(AlreadyExists) as refused:
        dock.update(running.id, *wanted, name="taken")
    assert refused.value.field == "name"
    assert (kernel(dock, running), dock.inspect(running.id).spec) == (before, running.spec)
    assert not dock.paths.restart(running.id).exists()
    dock.update(running.id, *wanted, name="free")
    assert kernel(dock, running)["memory"] == 96 * MIB
    assert dock.paths.restart(running.id).read_text() == "always\n"
    assert [version.change for version in dock.versions("free")] == ["update", "create"]
    assert [event.action for event in dock.events()][-2:] == ["rename", "update"]
    dock.update(running.id, *wanted, name="free")
    assert len(dock.versions("free")) == 2, "nothing is other"


def test_an_update_that_was_cut_short_is_settled_when_the_console_starts(dock: Engine, running: Container) -> None:
    before = kernel(dock, running)
    limits = {"memory_bytes": 96 * MIB, "memory_swap_bytes": 96 * MIB, "cpus": 0.5, "pids": 50}
    manager.group(dock.instance, running.id).change(limits)  # as one did that was killed before it could write it down
    assert kernel(dock, running) != before
    dock.tidy()
    assert kernel(dock, running) == before


def test_what_this_kernel_lacks_is_said_at_the_start_and_nothing_is_left(dock: Engine) -> None:
    """Huge pages: neither this host's v1 nor the guest's v2 can limit them for containers."""
    from engine import HugePages

    size = 2 * MIB
    if not os.path.isdir(f"/sys/kernel/mm/hugepages/hugepages-{size // 1024}kB"):
        with pytest.raises(InvalidRequest):
            dock.create(ContainerSpec(image="busybox", limits=Limits(huge_pages=(HugePages(size, 0),))))
        return
    made = dock.create(
        ContainerSpec(image="busybox", command=("true",), limits=Limits(huge_pages=(HugePages(size, 0),)))
    )
    with pytest.raises(Unsupported) as refused:
        dock.start(made.id)
    assert refused.value.field == "huge_pages"
    assert dock.inspect(made.id).state is State.CREATED


def test_limits_of_disks_are_stored_by_number_and_merged_by_disk(dock: Engine) -> None:
    from tests.engine.cgroups.test_limits import disk

    number = disk()
    made = dock.create(
        ContainerSpec(image="busybox", command=("sleep", "9"), limits=Limits(io=(IoLimit(number, 5 * MIB),)))
    )
    dock.start(made.id)
    dock.update(made.id, Limits(io=(IoLimit(number, writes_per_s=10),), cpu_shares=512))
    limits = dock.inspect(made.id).spec.limits
    assert limits.io == (IoLimit(number, 5 * MIB, None, None, 10),)
    assert limits.cpu_shares == 512
    dock.restart(made.id, 0)
    assert dock.inspect(made.id).state is State.RUNNING
