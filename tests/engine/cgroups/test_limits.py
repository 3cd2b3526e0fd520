"""Limits of a group in use: changed all or not at all, in any direction."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from engine import Limits
from engine.cgroups import manager
from engine.cgroups.manager import Group
from engine.errors import Unsupported
from tests.conftest import eventually
from tests.engine.cgroups.conftest import LIMITS, end, holding, member, setting

MIB = 1 << 20


def everything() -> dict[str, str]:
    return {
        "memory": setting("memory.limit_in_bytes", "memory.max"),
        "swap": setting("memory.memsw.limit_in_bytes", "memory.swap.max"),
        "pids": setting("pids.max", "pids.max"),
        "cpu": setting("cpu.cfs_quota_us", "cpu.max"),
        "shares": setting("cpu.shares", "cpu.weight"),
        "io": setting("blkio.throttle.read_bps_device", "io.max"),
    }


def disk() -> str:
    """The disk under /var/tmp, as major:minor."""
    device = os.stat("/var/tmp").st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    whole = Path(f"/sys/dev/block/{number}/partition")
    return (whole.parent.resolve().parent / "dev").read_text().strip() if whole.exists() else number


def rates(**given: int) -> dict[str, Any]:
    none = dict.fromkeys(("read_bytes_per_s", "write_bytes_per_s", "reads_per_s", "writes_per_s"))
    return {"io": [{"device": disk()} | none | given]}


@pytest.mark.parametrize(
    ("memory", "both"), [(32, 32), (32, 96), (96, 96), (96, 128), (512, 512), (64, 512), (16, 16), (64, 64)]
)
@pytest.mark.parametrize(("before", "both_before"), [(64, 64), (16, 512), (512, 512)])
def test_memory_and_swap_go_up_and_down_in_any_order(
    group: Group, before: int, both_before: int, memory: int, both: int
) -> None:
    group.change(LIMITS | {"memory_bytes": before * MIB, "memory_swap_bytes": both_before * MIB})
    group.change(LIMITS | {"memory_bytes": memory * MIB, "memory_swap_bytes": both * MIB})
    now = everything()
    assert now["memory"] == str(memory * MIB)
    assert now["swap"] == str((both - memory if manager.unified_mount() else both) * MIB)


def test_any_amount_of_swap(group: Group) -> None:
    group.change(LIMITS | {"memory_swap_bytes": -1})
    assert everything()["swap"] in ("max", "9223372036854771712")


def test_less_memory_than_is_in_use_is_refused_and_kills_nobody(group: Group) -> None:
    pid = holding(group, 24 * MIB)
    before = everything()
    with pytest.raises(OSError, match="memory") as refused:
        group.change(LIMITS | {"memory_bytes": 8 * MIB, "memory_swap_bytes": 8 * MIB, "pids": 99, "cpus": 0.1})
    assert refused.value.errno == errno.EBUSY
    assert everything() == before
    assert group.pids() == [pid]
    assert group.oom().kills == 0
    end(group, pid)


def test_what_is_only_cached_makes_room(group: Group, tmp_path: Path) -> None:
    path = Path(f"/var/tmp/{tmp_path.name}-{os.getpid()}")
    path.write_bytes(b"x" * (32 * MIB))
    os.sync()
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    try:

        def read() -> None:
            with path.open("rb", buffering=0) as file:
                while file.read(MIB):
                    pass

        pid = member(group, read)
        assert eventually(lambda: (m := group.counters().memory) is not None and m.file_bytes > 24 * MIB)
        group.change(LIMITS | {"memory_bytes": 20 * MIB, "memory_swap_bytes": 20 * MIB})
        assert everything()["memory"] == str(20 * MIB)
        assert group.pids() == [pid]
        end(group, pid)
    finally:
        path.unlink()


def test_fewer_processes_than_there_are_is_refused(group: Group) -> None:
    pid = member(group, lambda: [os.fork() for _ in range(2)])
    assert eventually(lambda: manager.usage(group).pids == 4)
    before = everything()
    with pytest.raises(OSError, match=r"pids\.max"):
        group.change(LIMITS | {"pids": 3})
    assert everything() == before
    end(group, pid)


@pytest.mark.parametrize(
    "wrong", [{"cpuset_cpus": "8000"}, {"huge_pages": [{"page_bytes": 3 << 20, "limit_bytes": 0}]}]
)
def test_one_that_fails_takes_the_others_back(group: Group, wrong: dict[str, Any]) -> None:
    """By a CPU that is not there or, where the host lacks the controller, by that."""
    group.change(LIMITS | {"memory_swap_bytes": 128 * MIB} | rates(read_bytes_per_s=5 * MIB))
    before = everything()
    others = {"memory_bytes": 256 * MIB, "memory_swap_bytes": 256 * MIB, "cpus": 0.3, "pids": 100, "cpu_shares": 50}
    with pytest.raises((OSError, Unsupported)):
        group.change(LIMITS | others | rates(read_bytes_per_s=1 * MIB) | wrong)
    assert everything() == before


def test_weights_and_rates_come_and_go(group: Group) -> None:
    v2 = manager.unified_mount() is not None
    fresh = everything()
    asked = LIMITS | {"cpu_shares": 2048} | rates(read_bytes_per_s=5 * MIB, writes_per_s=100)
    group.change(asked)
    now = everything()
    assert now["shares"] == ("79" if v2 else "2048")
    assert now["io"] == (f"{disk()} rbps=5242880 wbps=max riops=max wiops=100" if v2 else f"{disk()} 5242880")
    group.change(asked)
    assert everything() == now
    group.change(LIMITS | {"io": []})
    assert everything() == fresh


def test_what_this_host_lacks_is_unsupported_and_named(group: Group) -> None:
    with pytest.raises(Unsupported) as refused:
        group.limit(LIMITS | {"huge_pages": [{"page_bytes": 2 << 20, "limit_bytes": 0}]})
    assert refused.value.field == "huge_pages"
    assert "huge_pages" in refused.value.hint


@pytest.mark.parametrize("field", ["cpuset_cpus", "cpuset_mems", "io_weight"])
def test_it_is_set_where_there_is_a_controller_and_unsupported_elsewhere(group: Group, field: str) -> None:
    value = 300 if field == "io_weight" else "0"
    names = {"cpuset_cpus": "cpuset.cpus", "cpuset_mems": "cpuset.mems", "io_weight": "blkio.bfq.weight"}
    if manager.unified_mount():
        offered = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
        there = "cpuset" in offered if field != "io_weight" else False
    else:
        there = True
    if there:
        group.change(LIMITS | {field: value})
        assert setting(names[field], names[field]).split()[-1] == str(value)
        group.change(LIMITS)
        assert setting(names[field], names[field]).split()[-1] == (
            "100" if field == "io_weight" else _all(names[field])
        )
    else:
        with pytest.raises(Unsupported) as refused:
            group.change(LIMITS | {field: value})
        assert refused.value.field == field


def _all(file: str) -> str:
    return Path(f"/sys/fs/cgroup/cpuset/{file.replace('.', '.effective_')}").read_text().strip()


def test_a_slow_disk_is_as_slow_as_it_was_made(group: Group) -> None:
    path = f"/var/tmp/wharfie-slow-{os.getpid()}"
    group.change(LIMITS | rates(write_bytes_per_s=4 * MIB))
    read_end, write_end = os.pipe()

    def write() -> None:
        import mmap

        page = mmap.mmap(-1, 1 * MIB)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
        for _ in range(3):
            os.write(fd, page)
        os.write(write_end, b"1")

    began = time.monotonic()
    pid = member(group, write)
    os.read(read_end, 1)
    took_s = time.monotonic() - began
    for descriptor in (read_end, write_end):
        os.close(descriptor)
    os.unlink(path)
    assert took_s > 0.45, "3 MiB at 4 MiB/s, of which the kernel lets the first slice through"
    counted = group.counters().io
    assert counted is not None
    assert counted.written_bytes >= 3 * MIB
    assert counted.writes >= 3
    end(group, pid)


def test_every_limit_of_the_spec_is_known() -> None:
    """A field that the groups never look at would be a promise not kept."""
    import dataclasses
    import inspect

    from engine.cgroups import v1_limits, v2_limits

    for module in (v1_limits, v2_limits):
        source = inspect.getsource(module)
        assert [f.name for f in dataclasses.fields(Limits) if f'"{f.name}"' not in source] == []
