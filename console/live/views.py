"""Tickets for websockets."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from console.live import tickets


@require_POST
def ticket(request: HttpRequest) -> JsonResponse:
    """A ticket for one websocket of this session. The POST is guarded by the CSRF token, as a websocket cannot be."""
    return JsonResponse({"ticket": tickets.issue(request.session.session_key or "")})
