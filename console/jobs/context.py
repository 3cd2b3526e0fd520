"""The jobs of whoever looks, for the frame of every page: how many run, and which results were not seen."""

from __future__ import annotations

import functools
from typing import Any

from django.http import HttpRequest

from console.jobs.models import Record, Status

NEWEST = 8


def frame(request: HttpRequest) -> dict[str, Any]:
    """Asked of the database only where a template shows it, and once: fragments do not."""
    return {"jobs_frame": functools.cache(lambda: _frame(request))}


def _frame(request: HttpRequest) -> dict[str, Any] | None:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    ended = Record.objects.filter(owner=user.pk, seen=False).exclude(status=Status.RUNNING)
    unseen = ended.count()
    return {
        "running": Record.objects.seen_by(user).filter(status=Status.RUNNING).count(),
        "unseen": unseen,
        "newest": list(ended[:NEWEST]) if unseen else [],
    }
