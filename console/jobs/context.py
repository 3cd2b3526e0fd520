"""The jobs of whoever looks, for the frame of every page: how many run, and which results were not seen."""

from __future__ import annotations

import functools
from typing import Any

from django.db import connection
from django.http import HttpRequest

from console.jobs.models import Record, Status

NEWEST = 8
# By hand: every page asks, and to build this by the model takes a tenth of a page's time.
_COUNTS = f"""
    SELECT count(*) FILTER (WHERE status = '{Status.RUNNING}' AND (owner_id = %s OR %s)),
           count(*) FILTER (WHERE status <> '{Status.RUNNING}' AND owner_id = %s AND NOT seen)
    FROM {Record._meta.db_table}
"""


def frame(request: HttpRequest) -> dict[str, Any]:
    """Asked of the database only where a template shows it: fragments do not."""
    return {"jobs_frame": functools.cache(lambda: _frame(request))}


def _frame(request: HttpRequest) -> dict[str, Any] | None:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    with connection.cursor() as cursor:
        running, unseen = cursor.execute(_COUNTS, [user.pk, user.is_active and user.is_superuser, user.pk]).fetchone()
    ended = Record.objects.filter(owner=user.pk, seen=False).exclude(status=Status.RUNNING)
    return {"running": running, "unseen": unseen, "newest": list(ended[:NEWEST]) if unseen else []}
