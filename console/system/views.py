"""What this host can do, in words."""

from __future__ import annotations

import platform

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console import gateway


@require_safe
def report(request: HttpRequest) -> HttpResponse:
    """The engine's checks, the versions in use, and the directories."""
    found = gateway.engine().report()
    versions = [
        ("Linux", platform.release()),
        ("Python", platform.python_version()),
        ("Django", django.get_version()),
    ]
    places = [
        ("WHARFIE_ROOT", settings.PATHS.root),
        ("WHARFIE_RUN", settings.PATHS.run),
        ("WHARFIE_LISTEN", settings.LISTEN),
    ]
    return render(request, "system/report.html", {"report": found, "versions": versions, "places": places})
