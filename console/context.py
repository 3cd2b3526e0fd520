"""What every page's frame shows."""

from __future__ import annotations

import socket
import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

NAVIGATION = (
    (_("Run"), (("overview", "overview", _("Overview")), ("containers:list", "container", _("Containers")))),
    (_("Store"), (("images:list", "image", _("Images")), ("volumes:list", "volume", _("Volumes")))),
    (
        _("Manage"),
        (
            ("jobs:list", "jobs", _("Jobs")),
            ("users:list", "user", _("Users")),
            ("system:report", "system", _("System")),
        ),
    ),
)
FOR_ADMINS = {"users:list"}
_FOR_MEMBERS = tuple(
    (group, tuple(entry for entry in entries if entry[0] not in FOR_ADMINS)) for group, entries in NAVIGATION
)


def page(request: HttpRequest) -> dict[str, Any]:
    """The frame's data: the nonce, the navigation and where we are in it."""
    match = request.resolver_match
    return {
        "csp_nonce": getattr(request, "csp_nonce", ""),
        "navigation": NAVIGATION if _is_admin(request) else _FOR_MEMBERS,
        "here": (match.namespaces or [match.url_name])[0] if match else "",
        "language": get_language() or settings.LANGUAGE_CODE,
        "languages": settings.LANGUAGES,
        "hostname": socket.gethostname(),
        "now_ms": time.time_ns() // 1_000_000,
    }


def _is_admin(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)  # a refused host's request has none
    return bool(user and user.is_superuser)
