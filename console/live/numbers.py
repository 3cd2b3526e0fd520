"""Rates from counters: what each running container uses now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engine import Sample


class Rates:
    """Remembers the last sample of each container and turns the next into a rate."""

    def __init__(self) -> None:
        self._last: dict[str, Sample] = {}

    def update(self, samples: Mapping[str, Sample]) -> dict[str, dict[str, Any]]:
        """Figures for the browser. ``cpu`` is None for a container seen for the first time: one sample is no rate."""
        figures = {
            cid: {
                "cpu": _cores(self._last.get(cid), sample),
                "cpus": sample.cpus,
                "mem": sample.memory_bytes,
                "limit": sample.memory_limit_bytes,
                "pids": sample.pids,
            }
            for cid, sample in samples.items()
        }
        self._last = dict(samples)
        return figures


def _cores(before: Sample | None, after: Sample) -> float | None:
    # A counter that went back belongs to a new run of the container.
    if before is None or after.time_ns <= before.time_ns or after.cpu_time_ns < before.cpu_time_ns:
        return None
    return round((after.cpu_time_ns - before.cpu_time_ns) / (after.time_ns - before.time_ns), 3)


def choose(figures: Mapping[str, Any], ids: Iterable[str]) -> dict[str, Any]:
    """The figures of the containers that a page shows."""
    return {cid: figures[cid] for cid in ids if cid in figures}
