"""What is counted, by kind; what is not is None."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.cgroups import counters, manager, v2
from engine.cgroups.manager import Group
from engine.cgroups.settings import write_text
from tests.conftest import eventually
from tests.engine.cgroups.conftest import INSTANCE, LIMITS, end, holding, member

MIB = 1 << 20


def test_cpu_time_is_split_and_throttling_is_seen(group: Group) -> None:
    group.change(LIMITS | {"cpus": 0.1})

    def use() -> None:
        while True:
            sum(range(10_000))
            os.stat("/")

    pid = member(group, use)
    # A kernel that splits it by ticks may take a while to meet the process on its own ground.
    assert eventually(
        lambda: (c := group.counters().cpu) is not None and (c.throttled_periods or 0) > 3 and c.user_ns > 1_000_000,
        timeout_s=120,
    )
    group.freeze(10)  # so that one look sees what the other saw
    cpu = group.counters().cpu
    assert cpu is not None
    assert cpu.user_ns > 1_000_000
    assert cpu.time_ns / 2 < cpu.user_ns + cpu.system_ns < cpu.time_ns * 2, "v1 splits it by ticks"
    assert cpu.periods is not None
    assert cpu.throttled_periods is not None
    assert cpu.throttled_ns is not None
    assert cpu.periods >= cpu.throttled_periods
    assert cpu.throttled_ns > 50_000_000
    assert cpu.time_ns == manager.usage(group).cpu_time_ns
    end(group, pid)


def test_memory_is_told_by_kind(group: Group) -> None:
    path = Path(f"/var/tmp/wharfie-kinds-{os.getpid()}")
    pid = holding(group, 24 * MIB)
    other = member(group, lambda: path.write_bytes(b"x" * (8 * MIB)))
    try:
        assert eventually(lambda: (m := group.counters().memory) is not None and m.file_bytes >= 8 * MIB)
        memory = group.counters().memory
        assert memory is not None
        assert 24 * MIB <= memory.anon_bytes < 60 * MIB
        assert 8 * MIB <= memory.file_bytes < 24 * MIB
        assert memory.inactive_file_bytes <= memory.file_bytes
        assert memory.peak_bytes is not None
        assert memory.peak_bytes >= memory.working_set_bytes
        assert memory.kernel_bytes is not None
        assert 0 < memory.kernel_bytes < 16 * MIB
        assert memory.swap_bytes == 0
    finally:
        path.unlink()
    end(group, pid)
    os.waitpid(other, 0)
    after = group.counters().memory
    assert after is not None
    assert after.peak_bytes is not None
    assert after.peak_bytes > 24 * MIB > after.anon_bytes, "a peak is not forgotten"


def test_traffic_with_a_disk_is_counted(group: Group) -> None:
    path = Path(f"/var/tmp/wharfie-traffic-{os.getpid()}")
    before = group.counters().io

    def use() -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.write(descriptor, b"x" * (4 * MIB))
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.pread(descriptor, 4 * MIB, 0)

    pid = member(group, use)
    try:
        assert eventually(lambda: (io := group.counters().io) is not None and io.read_bytes >= 4 * MIB)
        io = group.counters().io
        assert io is not None
        assert before is not None
        assert before.read_bytes < MIB
        assert io.written_bytes >= 4 * MIB
        assert io.reads > 0
        assert io.writes > 0
    finally:
        path.unlink()
    end(group, pid)


def test_pressure_is_none_where_the_kernel_keeps_none_of_a_group(group: Group) -> None:
    now = group.counters()
    pressures = (now.cpu_pressure, now.memory_pressure, now.io_pressure)
    if manager.unified_mount() and os.path.exists(f"/sys/fs/cgroup/wharfie-{INSTANCE}/one/cpu.pressure"):
        assert None not in pressures
    else:
        assert pressures == (None, None, None)


def test_what_has_no_controller_is_none(tmp_path: Path) -> None:
    """On a directory with the one file that every v2 group has."""
    directory = tmp_path / "wharfie-x" / "one"
    directory.mkdir(parents=True)
    (directory / "cpu.stat").write_text("usage_usec 5\nuser_usec 3\nsystem_usec 2\n")
    now = v2.Group("x", "one", str(tmp_path)).counters()
    assert now.cpu == counters.Cpu(5000, 3000, 2000, None, None, None)
    assert now[1:] == (None,) * 7


def test_a_file_of_pressure_is_read_with_its_units(tmp_path: Path) -> None:
    path = tmp_path / "cpu.pressure"
    some = "some avg10=1.50 avg60=0.00 avg300=0.00 total=12\n"
    path.write_text(f"{some}full avg10=0.25 avg60=0.00 avg300=0.00 total=7\n")
    assert counters.pressure(str(path)) == counters.Pressure(12_000, 7_000, 1.5, 0.25)
    path.write_text(some)
    assert counters.pressure(str(path)) == counters.Pressure(12_000, 0, 1.5, 0.0)
    assert counters.pressure(str(tmp_path / "none")) is None


UNIFIED = Path("/sys/fs/cgroup/unified")
if UNIFIED.exists():  # a hybrid host: the v2 half has no memory nor CPU, but what no user-mode kernel has

    @pytest.fixture
    def half() -> object:
        group = v2.Group(INSTANCE, "half", str(UNIFIED))
        group.create(confined=False)
        yield group
        group.kill()
        assert eventually(lambda: not group.pids())
        group.remove()
        (UNIFIED / f"wharfie-{INSTANCE}").rmdir()

    def test_pressure_of_a_v2_group_rises(half: v2.Group) -> None:
        pids = [member(half, lambda: [None for _ in iter(int, 1)]) for _ in range(2 * (os.cpu_count() or 1))]
        assert eventually(lambda: (p := half.counters().cpu_pressure) is not None and p.some_ns > 10_000_000)
        now = half.counters()
        assert now.memory_pressure is not None
        assert now.io_pressure is not None
        half.freeze(10)
        assert half.frozen()
        half.kill()
        for pid in pids:
            os.waitpid(pid, 0)

    def test_huge_pages_have_a_limit_in_a_v2_group(half: v2.Group) -> None:
        from engine.cgroups.settings import Setting, replace
        from engine.cgroups.v2_limits import settings

        directory = f"{UNIFIED}/wharfie-{INSTANCE}/half"
        asked = LIMITS | {"huge_pages": [{"page_bytes": 2 * MIB, "limit_bytes": 64 * MIB}]}
        wanted = [each for each in settings(directory, asked, fresh=True) if each.field == "huge_pages"]
        assert wanted == [Setting(f"{directory}/hugetlb.2MB.max", str(64 * MIB), "huge_pages")]
        write_text(f"{directory}/hugetlb.2MB.max", "max")
        replace(wanted)
        assert Path(f"{directory}/hugetlb.2MB.max").read_text().strip() == str(64 * MIB)
