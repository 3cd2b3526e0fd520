"""``/healthz``: for a monitor or a balancer, which does not sign in. One word, and nothing about what runs here."""

from __future__ import annotations

import logging

from django.contrib.auth.decorators import login_not_required
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from console import gateway
from engine import errors

log = logging.getLogger(__name__)


@login_not_required
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """200 and "ok" when both databases and the launcher answer; else 503 and the word for the first that does not."""
    try:
        Session.objects.exists()
    except DatabaseError:
        return _answer("database")
    try:
        gateway.engine().ping()
    except errors.EngineError as error:
        log.warning("healthz: %s", error)
        return _answer("launcher" if isinstance(error, errors.Unavailable) else "engine")
    return HttpResponse("ok\n", content_type="text/plain")


def _answer(word: str) -> HttpResponse:
    return HttpResponse(f"{word}\n", content_type="text/plain", status=503)
