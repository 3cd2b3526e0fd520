"""What every page's frame shows."""

from __future__ import annotations

import socket
import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import get_language

from console import navigation, onhost


def page(request: HttpRequest) -> dict[str, Any]:
    """The frame's data: the nonce, the navigation and where we are in it."""
    match = request.resolver_match
    admin = _is_admin(request)
    return {
        "csp_nonce": getattr(request, "csp_nonce", ""),
        "navigation": navigation.groups(admin),
        "places": navigation.places(admin),
        "here": (match.namespaces or [match.url_name])[0] if match else "",
        "language": get_language() or settings.LANGUAGE_CODE,
        "languages": settings.LANGUAGES,
        "hostname": socket.gethostname(),
        "onhost": onhost.COMMANDS,
        "now_ms": time.time_ns() // 1_000_000,
    }


def _is_admin(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)  # a refused host's request has none
    return bool(user and user.is_superuser)
