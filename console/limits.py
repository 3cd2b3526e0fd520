"""Limits on the command line: Docker's flags, the same for `run`, `create` and `update`."""

from __future__ import annotations

import argparse
from argparse import Namespace

from engine import HugePages, IoLimit, Limits, names
from engine.errors import InvalidRequest

RATES = {  # flag, the field it sets, and whether it is a size
    "device_read_bps": ("read_bytes_per_s", True),
    "device_write_bps": ("write_bytes_per_s", True),
    "device_read_iops": ("reads_per_s", False),
    "device_write_iops": ("writes_per_s", False),
}


def flags(command: argparse.ArgumentParser) -> None:
    """Add them."""
    option = command.add_argument
    option("-m", "--memory", metavar="SIZE", help="as 512m or 2g")
    option("--memory-swap", metavar="SIZE", help="memory and swap together; -1: any amount of swap")
    option("--cpus", type=float, metavar="N", help="cores' worth of CPU time, as 1.5")
    option("--pids-limit", type=int, metavar="N", help="processes and threads")
    option("-c", "--cpu-shares", type=int, metavar="N", help="weight beside others when CPUs are short, 2 to 262144")
    option("--cpuset-cpus", metavar="LIST", help="which CPUs, as 0-2,4")
    option("--cpuset-mems", metavar="LIST", help="which memory nodes, as 0,1")
    option("--blkio-weight", type=int, metavar="N", help="weight beside others when a disk is short, 10 to 1000")
    for flag, (_field, is_size) in RATES.items():
        kind, what = ("SIZE", "bytes") if is_size else ("N", "operations")
        way = "read" if "read" in flag else "written"
        name = f"--{flag.replace('_', '-')}"
        option(name, action="append", default=[], metavar=f"DISK:{kind}", help=f"{what} {way} a second; 0: no limit")
    option("--hugetlb", action="append", default=[], metavar="PAGE=SIZE", help="huge pages of one size, as 2m=64m")


def limits(options: Namespace) -> Limits:
    """What was given; the rest is None. InvalidRequest for what is no size, disk or number."""
    swap = options.memory_swap
    return Limits(
        memory_bytes=names.size_bytes(options.memory, "memory") if options.memory else None,
        memory_swap_bytes=(-1 if swap == "-1" else names.size_bytes(swap, "memory_swap")) if swap else None,
        cpus=options.cpus,
        pids=options.pids_limit,
        cpu_shares=options.cpu_shares,
        cpuset_cpus=options.cpuset_cpus,
        cpuset_mems=options.cpuset_mems,
        io_weight=options.blkio_weight,
        io=_rates(options),
        huge_pages=tuple(map(_huge_pages, options.hugetlb)),
    )


def _rates(options: Namespace) -> tuple[IoLimit, ...]:
    found = []
    for flag, (field, is_size) in RATES.items():
        for text in getattr(options, flag):
            disk, colon, rate = text.rpartition(":")
            if not colon or not (is_size or (rate.isascii() and rate.isdigit())):
                hint = "write it like /dev/sda:10m" if is_size else "write it like /dev/sda:500"
                raise InvalidRequest(f"{text!r} is not a disk and a rate", hint=hint, field="io")
            found.append(IoLimit(disk, **{field: names.size_bytes(rate, "io") if is_size else int(rate)}))
    return tuple(found)


def _huge_pages(text: str) -> HugePages:
    page, _, size = text.partition("=")
    return HugePages(names.size_bytes(page, "huge_pages"), names.size_bytes(size, "huge_pages"))
