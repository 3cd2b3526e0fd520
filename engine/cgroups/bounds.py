"""What limits this host can give at all, whoever asks."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from engine.containers.spec import Limits
from engine.errors import InvalidRequest
from engine.linux import process

MIN_MEMORY_BYTES = 6 * 2**20  # below it the first process cannot be set up; Docker's floor
MIN_CPUS = 0.01  # the kernel's smallest quota, 1 ms of 100 ms; sched-bwc.rst
MAX_PIDS = 4_194_304  # the kernel's own limit; proc(5) pid_max
MAX_CPUS = 8192  # the kernel's own limit, CONFIG_NR_CPUS
CPU_SHARES = (2, 262_144)  # kernel/sched/sched.h MIN_SHARES, MAX_SHARES
IO_WEIGHTS = (10, 1000)  # Docker's scale; docs.docker.com/reference/cli/docker/container/run, --blkio-weight
UNLIMITED = -1  # memory and swap together: any amount of swap


def check(limits: Limits) -> None:
    """InvalidRequest, naming the field, unless this host can give so much and no less will do."""
    _memory(limits)
    cores = os.cpu_count() or 1
    if limits.cpus is not None and not MIN_CPUS <= limits.cpus <= cores:
        raise InvalidRequest(f"{limits.cpus:g} cores cannot be given", hint=f"use {MIN_CPUS} to {cores}", field="cpus")
    for field, value, (least, most), what in (
        ("pids", limits.pids, (1, MAX_PIDS), "the number of processes"),
        ("cpu_shares", limits.cpu_shares, CPU_SHARES, "the CPU weight"),
        ("io_weight", limits.io_weight, IO_WEIGHTS, "the disk weight"),
    ):
        if value is not None and not least <= value <= most:
            raise InvalidRequest(f"{value} is out of the range of {what}", hint=f"use {least} to {most}", field=field)
    _members(limits.cpuset_cpus, "/sys/devices/system/cpu/online", "cpuset_cpus", "CPUs")
    _members(limits.cpuset_mems, "/sys/devices/system/node/online", "cpuset_mems", "memory nodes")
    for each in limits.io:
        device_number(each.device)
        for rate in (each.read_bytes_per_s, each.write_bytes_per_s, each.reads_per_s, each.writes_per_s):
            if rate is not None and not 0 <= rate < 2**52:
                raise InvalidRequest(
                    f"{rate} is not a rate of I/O", hint="use 1 or more a second, or 0 for no limit", field="io"
                )
    for pages in limits.huge_pages:
        if not os.path.isdir(f"/sys/kernel/mm/hugepages/hugepages-{pages.page_bytes // 1024}kB"):
            raise InvalidRequest(
                f"there are no huge pages of {pages.page_bytes} bytes here",
                hint="see /sys/kernel/mm/hugepages",
                field="huge_pages",
            )
        if not 0 <= pages.limit_bytes < 2**62:
            raise InvalidRequest(f"{pages.limit_bytes} is not a size", hint="use 0 or more", field="huge_pages")


def _memory(limits: Limits) -> None:
    memory, swap = limits.memory_bytes, limits.memory_swap_bytes
    most = process.host_memory_bytes()
    if memory is not None and memory < MIN_MEMORY_BYTES:
        raise InvalidRequest("the memory limit is too low to start anything", hint="use at least 6m", field="memory")
    if memory is not None and memory > most:
        raise InvalidRequest(
            "the memory limit is more than this host has", hint=f"use at most {most // 2**20}m", field="memory"
        )
    if swap is not None and (memory is None or not (swap == UNLIMITED or memory <= swap < 2**62)):
        raise InvalidRequest(
            "memory and swap together are less than memory", hint="give both, swap the larger", field="memory_swap"
        )


def _members(text: str | None, online: str, field: str, what: str) -> None:
    """A list as cpuset(7) writes it, of what is online."""
    if not text:
        return
    present = _list(Path(online).read_text()) if os.path.exists(online) else {0}
    try:
        wrong = _list(text) - present
    except ValueError:
        raise InvalidRequest(f"{text!r} is not a list of {what}", hint="write it like 0-2,4", field=field) from None
    if wrong:
        have = ",".join(map(str, sorted(present)))
        raise InvalidRequest(f"{sorted(wrong)[0]} is not among this host's {what}", hint=f"it has {have}", field=field)


def _list(text: str) -> set[int]:
    """The numbers of a list such as 0-2,4; ValueError when it is none."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            raise ValueError(part)
        low, high = int(first), int(last or first)
        if not low <= high < MAX_CPUS:
            raise ValueError(part)
        found |= set(range(low, high + 1))
    return found


def device_number(text: str) -> str:
    """A whole disk, given as its device file or as major:minor, as major:minor; else InvalidRequest."""
    number = text
    if text.startswith("/dev/"):
        try:
            found = os.stat(text)
        except OSError as error:
            raise InvalidRequest(f"{text}: {error.strerror}", hint="name a disk of this host", field="io") from error
        number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}" if stat.S_ISBLK(found.st_mode) else ""
    if not re.fullmatch(r"[0-9]{1,4}:[0-9]{1,7}", number) or not os.path.isdir(f"/sys/dev/block/{number}"):
        raise InvalidRequest(f"{text!r} is not a disk", hint="name one like /dev/sda or 8:0", field="io")
    if os.path.exists(f"/sys/dev/block/{number}/partition"):
        raise InvalidRequest(f"{text} is a part of a disk", hint="only whole disks have limits", field="io")
    return number
