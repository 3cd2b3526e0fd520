"""The jobs of whoever looks, for the frame of every page: how many run, and which results were not seen."""

from __future__ import annotations

import functools
from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest

from console.jobs.models import Record, Status

NEWEST = 8


def frame(request: HttpRequest) -> dict[str, Any]:
    """Asked of the database only where a template shows it: fragments do not."""
    return {"jobs_frame": functools.cache(lambda: _frame(request))}


def _frame(request: HttpRequest) -> dict[str, Any] | None:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    runs, unseen = Q(status=Status.RUNNING), Q(owner=user.pk, seen=False)
    found = Record.objects.seen_by(user).aggregate(
        running=Count("pk", filter=runs), unseen=Count("pk", filter=unseen & ~runs)
    )
    newest = list(Record.objects.filter(unseen).exclude(runs)[:NEWEST]) if found["unseen"] else []
    return found | {"newest": newest}
