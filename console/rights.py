"""Tells those who let somebody in that it may be time to look again: a session ended, an account or its role changed.

Signals of the database, so that it does not matter which page, command or library did it. Another process's changes are
not heard here: who stays connected looks by itself now and then as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models.signals import post_delete, post_save

# Called with the key of a session that ended, or the id of a user that changed or went; the other is None.
Watcher = Callable[[str | None, int | None], None]
_watchers: list[Watcher] = []


def watch(watcher: Watcher) -> None:
    """Have it told from now on, in whichever thread made the change."""
    if not _watchers:
        post_delete.connect(_session_ended, sender=Session)
        post_save.connect(_user_changed, sender=get_user_model())
        post_delete.connect(_user_changed, sender=get_user_model())
    _watchers.append(watcher)


def _session_ended(instance: Session, **_more: Any) -> None:
    _tell(instance.session_key, None)


def _user_changed(instance: Any, update_fields: Any = None, **_more: Any) -> None:
    if update_fields and set(update_fields) == {"last_login"}:
        return
    _tell(None, instance.pk)


def _tell(session_key: str | None, user_id: int | None) -> None:
    # Who looks sooner sees what was before.
    transaction.on_commit(lambda: [watcher(session_key, user_id) for watcher in _watchers])
