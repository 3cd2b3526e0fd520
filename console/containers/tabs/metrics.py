"""What a container used in the last hour: charts that go on while somebody looks."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from console import gateway, recorder
from console.containers import tabs
from engine import Series

SHOWN = 600  # points of a chart: more are joined
SPAN_S = 3600.0


class Chart(NamedTuple):
    """One picture with one or more lines."""

    name: str
    title: str | Promise
    unit: str  # cores, bytes, rate, count, percent
    lines: tuple[tuple[str, str | Promise], ...]  # field of the points, and what it is called


CHARTS = (
    Chart("cpu", _("CPU, cores"), "cores", (("cpu", _("used")),)),
    Chart("memory", _("Memory"), "bytes", (("memory", _("held")),)),
    Chart("io", _("Disk"), "rate", (("read", _("read")), ("written", _("written")))),
    Chart("pids", _("Processes"), "count", (("pids", _("there")),)),
    Chart("pressure", _("Time that its work waited, percent of 10 s"), "percent", (
        ("cpu_pressure", _("for CPU")), ("memory_pressure", _("for memory")), ("io_pressure", _("for disks")))),
)  # fmt: skip


@require_safe
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """The charts; a script fetches their points."""
    container = gateway.engine().inspect(ref)
    return tabs.show(request, container, "metrics", {"charts": CHARTS, "span_s": int(SPAN_S)})


@require_safe
def points(request: HttpRequest, ref: str) -> JsonResponse:
    """The points of the last hour after ``since``, Unix time in s, the oldest first; joined where there are many."""
    container = gateway.engine().inspect(ref)
    asked = request.GET.get("since", "")
    since = float(asked) if asked.replace(".", "", 1).isdigit() and len(asked) < 20 else 0.0
    recorder.recorder().look(container.id)
    found = recorder.recorder().history.of(container.id, max(since, time.time() - SPAN_S))
    return JsonResponse(joined(found) | {"now": time.time()})


def joined(series: Series, most: int = SHOWN) -> dict[str, Any]:
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
