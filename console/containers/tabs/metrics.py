"""What a container used in the last hour: charts that go on while somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from console import gateway, points
from console.containers import tabs
from console.text import size
from engine import Container

ROWS = 60  # of the table of figures: a minute each


class Chart(NamedTuple):
    """One picture with one or more lines."""

    title: str | Promise
    unit: str  # as in static/js/chart.js
    lines: tuple[tuple[str, str | Promise], ...]  # field of the points, and what it is called
    limit: Callable[[Container], float | None] = lambda _container: None


CHARTS = (
    Chart(_("CPU, cores"), "cores", (("cpu", _("used")),), lambda container: container.spec.limits.cpus),
    Chart(_("Memory"), "bytes", (("memory", _("used")),), lambda container: container.spec.limits.memory_bytes),
    Chart(_("Disk"), "rate", (("read", _("read")), ("written", _("written")))),
    Chart(_("Processes"), "count", (("pids", _("running")),), lambda container: container.spec.limits.pids),
    Chart(_("Share of the last 10 s in which its work waited, percent"), "percent", (
        ("cpu_pressure", _("for CPU")), ("memory_pressure", _("for memory")), ("io_pressure", _("for disks")))),
)  # fmt: skip
SAID: dict[str, Callable[[float], str]] = {
    "cores": lambda value: f"{value:.2f}",
    "bytes": size,
    "rate": lambda value: f"{size(value)}/s",
    "count": lambda value: f"{value:.0f}",
    "percent": lambda value: f"{value:.1f} %",
}


@require_safe
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """The charts with their figures as tables; a script draws them and goes on."""
    container = gateway.engine().inspect(ref)
    found = points.of(container.id, most=ROWS)
    times = [datetime.fromtimestamp(at, UTC) for at in found["t"]]
    charts = [
        chart._asdict() | {"limit": chart.limit(container), "rows": list(zip(times, _cells(chart, found), strict=True))}
        for chart in CHARTS
    ]
    return tabs.show(request, container, "metrics", {"charts": charts})


def _cells(chart: Chart, found: dict[str, Any]) -> list[list[str]]:
    """A row for each time, in words."""
    columns = [found[field] for field, _word in chart.lines]
    return [["–" if value is None else SAID[chart.unit](value) for value in row] for row in zip(*columns, strict=True)]
