"""What a container uses, read from its cgroup at one moment. Plain, frozen data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters of one container. A rate is the difference of two samples over their times."""

    time_ns: int  # monotonic clock: for differences, not for calendars
    cpu_time_ns: int  # user and system, since the container's start
    memory_bytes: int  # without the page cache that the kernel can drop (inactive_file), as Docker shows it
    memory_limit_bytes: int
    pids: int
    cpus: float  # cores' worth of CPU time that the container may use
