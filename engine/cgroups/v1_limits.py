"""Limits on cgroup v1, as writes to the files of its hierarchies."""

from __future__ import annotations

import os
from collections.abc import Callable

from engine.cgroups.counters import read_text
from engine.cgroups.settings import CPU_PERIOD_US, Limits, Setting, devices_of, page_size_name, write_text

BFQ = "/sys/fs/cgroup/blkio/blkio.bfq.io_serviced"  # there when the kernel has that scheduler
DEFAULT_SHARES = "1024"
DEFAULT_IO_WEIGHT = {"blkio.bfq.weight": "100", "blkio.weight": "500"}
THROTTLES = {
    "read_bytes_per_s": "blkio.throttle.read_bps_device",
    "write_bytes_per_s": "blkio.throttle.write_bps_device",
    "reads_per_s": "blkio.throttle.read_iops_device",
    "writes_per_s": "blkio.throttle.write_iops_device",
}
Locate = Callable[[str, str], str]  # a hierarchy and a file there: its path


def settings(locate: Locate, limits: Limits, *, fresh: bool) -> list[Setting]:
    """What to write, in order; of a fresh group only what is asked for."""
    memory, swap = int(limits["memory_bytes"]), int(limits["memory_swap_bytes"])
    made = [Setting(locate("memory", "memory.limit_in_bytes"), str(memory), "memory")]
    both = locate("memory", "memory.memsw.limit_in_bytes")
    if os.path.exists(both):
        # The kernel keeps memory <= memory+swap at every moment: raised from above, lowered from below.
        raised = not fresh and memory > int(read_text(both))
        made.insert(0 if raised else 1, Setting(both, str(swap), "memory_swap"))
    made.append(Setting(locate("pids", "pids.max"), str(int(limits["pids"])), "pids"))
    # A fresh one has this period, the kernel's own; and at each write the kernel walks all groups of the host.
    if not fresh:
        made.append(Setting(locate("cpu", "cpu.cfs_period_us"), str(CPU_PERIOD_US), "cpus"))
    made.append(Setting(locate("cpu", "cpu.cfs_quota_us"), str(int(limits["cpus"] * CPU_PERIOD_US)), "cpus"))
    weight = "blkio.bfq.weight" if os.path.exists(BFQ) else "blkio.weight"
    for hierarchy, file, field, default in (
        ("cpu", "cpu.shares", "cpu_shares", DEFAULT_SHARES),
        ("cpuset", "cpuset.cpus", "cpuset_cpus", None),
        ("cpuset", "cpuset.mems", "cpuset_mems", None),
        ("blkio", weight, "io_weight", DEFAULT_IO_WEIGHT[weight]),
    ):
        path, value = locate(hierarchy, file), str(limits.get(field) or "")
        if not value and not fresh and os.path.exists(path):
            value = default or read_text(f"{os.path.dirname(os.path.dirname(path))}/{file}").strip()  # as the parent
        if value:
            made.append(Setting(path, value, field))
    for rate, file in THROTTLES.items():
        path = locate("blkio", file)
        wanted = {each["device"]: each[rate] for each in limits.get("io") or () if each[rate]}
        for device in () if fresh else devices_of(path):
            wanted.setdefault(device, 0)  # none
        made += [Setting(path, f"{device} {value}", "io", device, f"{device} 0") for device, value in wanted.items()]
    for pages in limits.get("huge_pages") or ():
        file = f"hugetlb.{page_size_name(pages['page_bytes'])}.limit_in_bytes"
        made.append(Setting(locate("hugetlb", file), str(pages["limit_bytes"]), "huge_pages"))
    return made


def count_io(parent: str) -> None:
    """Have the kernel count the traffic with each disk: since Linux 6.10 it does so only where a rule was once set.

    A rule of 0 is none, but wakes the counting up; block/blk-throttle.c, tg_set_conf and blk_throtl_activated.
    """
    for disk in os.listdir("/sys/block"):
        try:
            if read_text(f"/sys/block/{disk}/size").strip() == "0":  # an empty drive
                continue
            device = read_text(f"/sys/block/{disk}/dev").strip()
            write_text(f"{parent}/{THROTTLES['read_bytes_per_s']}", f"{device} 0")
        except OSError:  # a disk that is just going, or has no queue to throttle: it has no traffic to count either
            continue
