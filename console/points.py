"""What one container used in the last hour, as the points of its charts."""

from __future__ import annotations

import math
import time
from typing import Any

from console import recorder
from engine import Series

SPAN_S = 3600.0
MOST = 600  # points of a chart: more are joined


def of(container_id: str, since_s: float = 0.0, most: int = MOST) -> dict[str, Any]:
    """Those after a Unix time, the oldest first. While somebody asks, all counters of it are read each second."""
    recorder.recorder().look(container_id)
    return joined(recorder.recorder().history.of(container_id, max(since_s, time.time() - SPAN_S)), most)


def joined(series: Series, most: int = MOST) -> dict[str, Any]:
    """At most so many points: means, at the time of the last that is in them. What is not known is null."""
    step = max(1, -(-len(series.times) // most))
    starts = range(0, len(series.times), step)
    # Rounded up: whoever asks for what came after the last one must not get that again.
    return {"t": [math.ceil(series.times[min(at + step, len(series.times)) - 1] * 10) / 10 for at in starts]} | {
        name: [_mean(values[at : at + step]) for at in starts] for name, values in series.points.items()
    }


def _mean(values: Any) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return float(f"{sum(known) / len(known):.7g}") if known else None
