"""The first page: what runs here, how full the host is, what happened last."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console import gateway
from console.templatetags.wharfie import look


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """The page, or its changing part for htmx."""
    engine = gateway.engine()
    containers = engine.containers()
    context = {
        "containers": containers,
        "ids": {c.id for c in containers},
        "running": [c for c in containers if c.state.alive],
        "failed": [c for c in containers if look(c) == "failed"],
        "images": engine.images(),
        "volumes": engine.volumes(),
        "events": _latest(engine.events(), 12),
        "host": _host(),
    }
    return render(request, "overview/_facts.html" if request.htmx else "overview/show.html", context)


def _latest(events: list[Any], count: int) -> list[Any]:
    return events[: -count - 1 : -1]


def _host() -> dict[str, Any]:
    import psutil  # only the pages that show the host pay for it

    memory = psutil.virtual_memory()
    disk = psutil.disk_usage(str(settings.PATHS.root))
    return {
        "cores": os.cpu_count() or 1,
        "load": os.getloadavg()[0],
        "memory_used": memory.total - memory.available,
        "memory_total": memory.total,
        "disk_used": disk.used,
        "disk_total": disk.used + disk.free,
        "boot_ns": int(psutil.boot_time() * 1e9),
    }
