"""What single processes use: rates from counters, and an order that does not jump with every sample."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from console.text import clean
from engine import Process

MOST = 200  # processes on a page; the others are counted
LONGEST = 200  # characters of a command line
WEIGHT = 0.2  # of the newest sample in the average


@dataclass(frozen=True, slots=True)
class Usage:
    """One process and what it used since the sample before."""

    process: Process
    cpu: float | None  # per cent of one core; None in the first sample: one is no rate
    average: float

    @property
    def key(self) -> str:
        """The pid on the host and the start time, which together are one process for good."""
        return f"{self.process.pid}:{self.process.start_time}"

    @property
    def command(self) -> str:
        """Its command line, short and harmless; in brackets the name of one that has none, as ps(1) does."""
        shown = clean(self.process.command) or f"[{clean(self.process.name)}]"
        return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


class UsageRates:
    """Remembers the last sample of each process."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], tuple[int, int, float]] = {}  # when, CPU time, average

    def update(self, processes: Iterable[Process]) -> list[Usage]:
        """The busiest first, by a moving average, then by memory."""
        now, last, found = time.monotonic_ns(), {}, []
        for process in processes:
            key = process.pid, process.start_time
            before = self._last.get(key)
            cpu, average = None, 0.0
            if before is not None and now > before[0]:
                cpu = round(100 * (process.cpu_time_ns - before[1]) / (now - before[0]), 1)
                average = WEIGHT * cpu + (1 - WEIGHT) * before[2]
            last[key] = now, process.cpu_time_ns, average
            found.append(Usage(process, cpu, average))
        self._last = last
        return sorted(found, key=lambda each: (-round(each.average), -each.process.memory_bytes, each.process.pid))
