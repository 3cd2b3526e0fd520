"""What the whole host uses now."""

from __future__ import annotations

import math
import os
import time
from typing import Any

SOON_S, LATELY_S = 0.5, 5.0


def figures() -> dict[str, Any]:
    """Its load, and bytes of memory that are not to be had."""
    import psutil  # only who shows the host pays for it

    memory = psutil.virtual_memory()
    return {
        "cpus": os.cpu_count() or 1,
        "load": round(os.getloadavg()[0], 2),
        "mem": memory.total - memory.available,
        "limit": memory.total,
    }


class Cpu:
    """Cores in use between two looks."""

    def __init__(self) -> None:
        self._seen = (0.0, -math.inf)
        self._last: float | None = None

    def look(self) -> float | None:
        """Since the last look; None when that was never, or too long ago to be called now."""
        import psutil

        times = psutil.cpu_times()
        busy_s, at_s = sum(times[:8]) - times.idle - times.iowait, time.monotonic()  # guests' are among the users'
        lasted_s = at_s - self._seen[1]
        if lasted_s >= SOON_S:  # else it is a few of the kernel's ticks, which say nothing
            self._last = round((busy_s - self._seen[0]) / lasted_s, 2) if lasted_s < LATELY_S else None
            self._seen = busy_s, at_s
        return self._last
