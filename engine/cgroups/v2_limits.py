"""Limits on cgroup v2, as writes to the files of a group."""

from __future__ import annotations

import os

from engine.cgroups.settings import CPU_PERIOD_US, Limits, Setting, devices_of, page_size_name

DEFAULT_WEIGHT = 100
THROTTLES = {"read_bytes_per_s": "rbps", "write_bytes_per_s": "wbps", "reads_per_s": "riops", "writes_per_s": "wiops"}


def settings(directory: str, limits: Limits, *, fresh: bool) -> list[Setting]:
    """What to write; of a fresh group only what is asked for."""
    memory, both = int(limits["memory_bytes"]), int(limits["memory_swap_bytes"])
    made = [Setting(f"{directory}/memory.max", str(memory), "memory")]
    if os.path.exists(f"{directory}/memory.swap.max"):  # of swap alone; Docker and v1 mean both together
        swap = "max" if both < 0 else str(both - memory)
        made.append(Setting(f"{directory}/memory.swap.max", swap, "memory_swap"))
    made += [
        Setting(f"{directory}/pids.max", str(int(limits["pids"])), "pids"),
        Setting(f"{directory}/cpu.max", f"{int(limits['cpus'] * CPU_PERIOD_US)} {CPU_PERIOD_US}", "cpus"),
    ]
    shares, weight = limits.get("cpu_shares"), limits.get("io_weight")
    bfq = os.path.exists(f"{directory}/io.bfq.weight")
    for file, field, value, default in (
        # Docker's scales onto the kernel's, end to end, as runc does (libcontainer/cgroups/utils.go).
        ("cpu.weight", "cpu_shares", shares and 1 + (shares - 2) * 9999 // 262142, DEFAULT_WEIGHT),
        ("io.bfq.weight", "io_weight", weight if bfq else None, DEFAULT_WEIGHT),
        ("io.weight", "io_weight", None if bfq else weight and 1 + (weight - 10) * 9999 // 990, DEFAULT_WEIGHT),
        ("cpuset.cpus", "cpuset_cpus", limits.get("cpuset_cpus") or None, ""),
        ("cpuset.mems", "cpuset_mems", limits.get("cpuset_mems") or None, ""),
    ):
        path = f"{directory}/{file}"
        if value is None and not fresh and os.path.exists(path):
            value = default or "\n"  # as the parent
        if value is not None:
            made.append(Setting(path, f"default {value}" if file.startswith("io.") else str(value), field))
    made += _io_settings(directory, limits, fresh=fresh)
    for pages in limits.get("huge_pages") or ():
        file = f"hugetlb.{page_size_name(pages['page_bytes'])}.max"
        made.append(Setting(f"{directory}/{file}", str(pages["limit_bytes"]), "huge_pages"))
    return made


def _io_settings(directory: str, limits: Limits, *, fresh: bool) -> list[Setting]:
    path, none = f"{directory}/io.max", " ".join(f"{word}=max" for word in THROTTLES.values())
    rates = {
        each["device"]: " ".join(f"{word}={each[key] or 'max'}" for key, word in THROTTLES.items())
        for each in limits.get("io") or ()
    }
    for device in () if fresh else devices_of(path):
        rates.setdefault(device, none)
    return [Setting(path, f"{device} {rate}", "io", device, f"{device} {none}") for device, rate in rates.items()]
