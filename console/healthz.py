"""Whether the engine answers. ``/healthz`` is for a monitor or a balancer, which does not sign in: one word, and
nothing about what runs here. People learn on every page why it does not."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
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
    if error := lost():
        log.warning("healthz: %s", error)
        return _answer("launcher" if isinstance(error, errors.Unavailable) else "engine")
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def banner(request: HttpRequest) -> HttpResponse:
    """What every page says while nobody serves the engine's requests; nothing once somebody does."""
    return render(request, "shell/engine.html")


def frame(request: HttpRequest) -> dict[str, Any]:
    """For the frame of every page; asked only where a template shows it."""
    return {"engine_lost": lost}


def lost() -> errors.EngineError | None:
    """Why no container could be started now. Two looks at files: nothing is asked of the launcher itself."""
    try:
        gateway.engine().ping()
    except errors.EngineError as error:
        return error
    return None


def _answer(word: str) -> HttpResponse:
    return HttpResponse(f"{word}\n", content_type="text/plain", status=503)
