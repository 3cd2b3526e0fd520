"""What happened to a container."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console import eventlog, gateway
from console.containers import tabs


@require_safe
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """Its events, the newest first, a page of them."""
    container = gateway.engine().inspect(ref)
    context = eventlog.page(request, container.id) | {"of_one": True}
    if request.htmx:
        return render(request, "events/_table.html", context)
    return tabs.show(request, container, "events", context)
