"""How far the engine's events were before a page was made: from there its socket tells it what it has missed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from console import gateway
from engine.errors import EngineError


class SinceMiddleware:
    """Gives a request for a whole page its ``since``; asked before the page looks, so nothing falls between the two."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Ask, and pass on. None where the engine cannot say: then the page fetches again what it shows."""
        request.since = None
        if request.method == "GET" and request.user.is_authenticated and not request.htmx:
            with contextlib.suppress(EngineError):  # the view meets it too, and says so
                request.since = gateway.engine().last_event()
        return self.get_response(request)
