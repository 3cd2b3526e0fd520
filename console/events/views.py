"""What happened on this host, and who did it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console import eventlog


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """Events, the newest first, a page of them."""
    return render(request, "events/_table.html" if request.htmx else "events/list.html", eventlog.page(request))
