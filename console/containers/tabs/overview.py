"""A container at a glance."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from console import gateway
from console.containers import tabs


@require_safe
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """Its figures, its last lines, what it was made of."""
    return tabs.show(request, gateway.engine().inspect(ref), "overview")
