"""The last hour of what containers use, a point a second, in memory. Bounded: with many containers it is less than an
hour. Figures that the kernel does not count are NaN, never 0."""

from __future__ import annotations

import bisect
import math
import threading
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.cgroups.counters import Counters

LONGEST = 3600  # points
POINTS = 500_000  # of all containers together; each is 40 bytes
SETTLES_S = 10.0  # of the moving average that a list is sorted by
FIELDS = ("cpu", "memory", "pids", "read", "written", "cpu_pressure", "memory_pressure", "io_pressure")
_SLACK = 64  # points beyond the longest that are cut off at once


@dataclass(slots=True)
class Rates:
    """What a container uses now, of what is counted now and then."""

    read: float = math.nan  # bytes a second
    written: float = math.nan
    pressures: tuple[float, float, float] = (math.nan, math.nan, math.nan)  # percent of 10 s: CPU, memory, I/O


class Figure(NamedTuple):
    """What a container uses now, of what is counted each time."""

    cpu: float | None  # cores; None with one sample, which is no rate
    memory_bytes: int
    pids: int


@dataclass(slots=True)
class Series:
    """Points of one container, the oldest first. Times are Unix time in s; a gap is a gap in the times."""

    times: array[float] = field(default_factory=lambda: array("d"))
    points: dict[str, array[float]] = field(default_factory=lambda: {name: array("f") for name in FIELDS})

    def since(self, time_s: float) -> Series:
        """Those after a time."""
        first = bisect.bisect_right(self.times, time_s)
        return Series(self.times[first:], {name: values[first:] for name, values in self.points.items()})


class History:
    """Takes samples, and remembers. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[str, Series] = {}
        self._rates: dict[str, Rates] = {}
        self._counters: dict[str, tuple[float, Counters]] = {}
        self._averages: dict[str, tuple[float, float]] = {}

    def add(self, figures: Mapping[str, Figure], counters: Mapping[str, Counters], now_s: float | None = None) -> None:
        """One more point for each container that runs; ``counters`` are of some of them."""
        now_s = time.time() if now_s is None else now_s
        with self._lock:
            for container_id, counted in counters.items():
                self._count(container_id, now_s, counted)
            for container_id, figure in figures.items():
                self._point(container_id, now_s, figure)
            for table in (self._rates, self._counters, self._averages):
                for gone in table.keys() - figures.keys():
                    del table[gone]
            self._trim(now_s)

    def averages(self, name: str) -> dict[str, float]:
        """Of ``cpu`` or ``memory`` what each uses on a moving average: rows that are sorted by it do not jump."""
        with self._lock:
            return {each: pair[name == "memory"] for each, pair in self._averages.items()}

    def of(self, container_id: str, since_s: float = 0.0) -> Series:
        """The points of one container after a time; none of one that is not known."""
        with self._lock:
            series = self._series.get(container_id)
            return series.since(since_s) if series else Series()

    def _count(self, container_id: str, now_s: float, counted: Counters) -> None:
        rates = self._rates.setdefault(container_id, Rates())
        before = self._counters.get(container_id)
        if before and before[1].io and counted.io and now_s > before[0]:
            elapsed_s = now_s - before[0]
            rates.read = max(0.0, (counted.io.read_bytes - before[1].io.read_bytes) / elapsed_s)
            rates.written = max(0.0, (counted.io.written_bytes - before[1].io.written_bytes) / elapsed_s)
        felt = (counted.cpu_pressure, counted.memory_pressure, counted.io_pressure)
        cpu, memory, io = (math.nan if each is None else each.some_percent for each in felt)
        rates.pressures = (cpu, memory, io)
        self._counters[container_id] = (now_s, counted)

    def _point(self, container_id: str, now_s: float, figure: Figure) -> None:
        rates = self._rates.setdefault(container_id, Rates())
        series = self._series.setdefault(container_id, Series())
        series.times.append(now_s)
        cpu = math.nan if figure.cpu is None else figure.cpu
        values = (cpu, figure.memory_bytes, figure.pids, rates.read, rates.written, *rates.pressures)
        for name, value in zip(FIELDS, values, strict=True):
            series.points[name].append(value)
        if figure.cpu is not None:
            now = (figure.cpu, float(figure.memory_bytes))
            was = self._averages.get(container_id, now)
            weight = 1 - math.exp(-1 / SETTLES_S)
            self._averages[container_id] = (was[0] + weight * (now[0] - was[0]), was[1] + weight * (now[1] - was[1]))

    def _trim(self, now_s: float) -> None:
        longest = min(LONGEST, max(60, POINTS // max(1, len(self._series))))
        for container_id, series in list(self._series.items()):
            if series.times[-1] < now_s - longest:
                del self._series[container_id]
            elif len(series.times) > longest + _SLACK:
                del series.times[:-longest]
                for values in series.points.values():
                    del values[:-longest]
