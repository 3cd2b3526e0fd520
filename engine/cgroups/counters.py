"""What a group used so far, with units in the names, and the kernel's files that tell it.

A part is None where the host has no such controller, or its kernel no such figure: nothing that was not counted is
ever shown as 0. Sources: admin-guide/cgroup-v1/ and admin-guide/cgroup-v2.rst; accounting/psi.rst.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from engine.linux import files

# What a file of a group says when that has been removed: before the file was opened, or since; fs/kernfs/file.c.
GONE = (errno.ENOENT, errno.ENODEV)


class Usage(NamedTuple):
    """What a list of many containers shows, in as few reads as possible."""

    cpu_time_ns: int
    memory_bytes: int  # without the page cache that the kernel can drop (inactive_file), as Docker shows it
    pids: int
    oom_kills: int  # since the group was made


class Cpu(NamedTuple):
    """Time on CPUs, and time kept from them by the quota."""

    time_ns: int
    user_ns: int  # this and the next: on v1 by the clock's ticks, so that their sum is not quite the time
    system_ns: int
    periods: int | None  # of the quota, so far
    throttled_periods: int | None  # in which the quota was used up
    throttled_ns: int | None  # that its threads waited for the next period, summed up


class Memory(NamedTuple):
    """Memory held now, by kind."""

    working_set_bytes: int  # all but inactive_file
    peak_bytes: int | None  # the most that was ever held; on v2 since Linux 5.19
    anon_bytes: int
    file_bytes: int  # page cache, tmpfs and shared memory included
    inactive_file_bytes: int  # of it, what can be dropped at once
    kernel_bytes: int | None
    swap_bytes: int | None


class Io(NamedTuple):
    """Traffic with block devices since the start, all devices together; what the page cache answered is not in it."""

    read_bytes: int
    written_bytes: int
    reads: int
    writes: int


class Pressure(NamedTuple):
    """How long work waited for a resource; accounting/psi.rst."""

    some_ns: int  # in which at least one task waited
    full_ns: int  # in which none got on
    some_percent: float  # of the last 10 s
    full_percent: float


class Oom(NamedTuple):
    """What the kernel's out-of-memory killer did in a group."""

    kills: int
    limit_bytes: int | None  # the limit that was hit; None: none was, so the host's own memory ran out


class Counters(NamedTuple):
    """All of it."""

    cpu: Cpu | None
    memory: Memory | None
    io: Io | None
    pids: int | None
    oom_kills: int | None
    cpu_pressure: Pressure | None
    memory_pressure: Pressure | None
    io_pressure: Pressure | None


class UnlessGone:
    """For what is fine, or done already, when somebody else removes the group just now: ``with UnlessGone(): ...``."""

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Whether that was it."""
        return isinstance(error, OSError) and error.errno in GONE


def read_text(path: str) -> str:
    """A small kernel file; FileNotFoundError too when its group is removed while it is read."""
    try:
        return files.content(path).decode()
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
        raise


def read_number(path: str) -> int | None:
    """A file with one number; None where the kernel has no such file."""
    try:
        return int(read_text(path))
    except FileNotFoundError:
        return None


def keyed(text: str) -> dict[str, int]:
    """A flat keyed file: one ``key value`` a line."""
    return {key: int(value) for key, _, value in (line.partition(" ") for line in text.splitlines())}


def pressure(path: str) -> Pressure | None:
    """A PSI file; None where the kernel has none, or was booted with psi=0 (then reading it is EOPNOTSUPP)."""
    try:
        lines = read_text(path).splitlines()
    except OSError:
        return None
    found = {kind: dict(word.split("=") for word in words) for kind, *words in (line.split() for line in lines)}
    some, full = found["some"], found.get("full", {"total": "0", "avg10": "0"})  # no "full" of the CPU before 5.13
    return Pressure(int(some["total"]) * 1000, int(full["total"]) * 1000, float(some["avg10"]), float(full["avg10"]))
