"""What a container, or a process of it, uses at one moment. Plain, frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters of one container. A rate is the difference of two samples over their times."""

    time_ns: int  # monotonic clock: for differences, not for calendars
    cpu_time_ns: int  # user and system, since the container's start
    memory_bytes: int  # without the page cache that the kernel can drop (inactive_file), as Docker shows it
    memory_limit_bytes: int
    pids: int
    cpus: float  # cores' worth of CPU time that the container may use


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a container at one moment."""

    pid: int  # on the host; one process for good together with start_time
    pid_inside: int  # in the container's pid namespace
    start_time: int  # clock ticks since boot
    uid: int  # the effective one, in the container
    name: str
    command: str  # its words with spaces between; "" of a zombie. Whatever the process says of itself
    state: str  # proc_pid_stat(5): R, S, D, T, Z …
    threads: int
    cpu_time_ns: int  # user and system, since its start
    memory_bytes: int  # resident
    started_at_ns: int


class TreeSize(NamedTuple):
    """What some directories hold."""

    bytes: int  # allocated on the disk
    entries: int  # files and directories
    whole: bool  # False: the time was over before all of it was counted


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes that are allocated on the disk. What several containers share is counted once, as the images'."""

    containers: Mapping[str, int]  # what each wrote outside of volumes, by id
    logs: Mapping[str, int]  # by container id
    volumes: Mapping[str, int]  # by name
    images: int  # all unpacked layers
    own: int  # databases, their copies, what is kept for jobs
    taken_at_ns: int  # Unix time
