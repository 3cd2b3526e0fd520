"""Sessions in the database, dated at each use without being written anew.

Django's own store, told to save at every request, writes back all that it read: a page's fragment that began before and
ends after somebody showed the password again, or took a second step, would undo it. And each request would be a write.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.models import Session
from django.utils import timezone

GRAIN = timedelta(minutes=1)


class SessionStore(db.SessionStore):
    """Writes what was changed, and of what was not only when it ends; that once a minute."""

    _ends_at: datetime | None = None

    def _get_session_from_db(self) -> Session | None:
        found: Session | None = super()._get_session_from_db()
        self._ends_at = found.expire_date if found else None
        return found

    def save(self, must_create: bool = False) -> None:
        """UpdateError for a session that has ended meanwhile: it stays so."""
        if must_create or self.modified or self.session_key is None:
            super().save(must_create=must_create)
            return
        ends_at = timezone.now() + timedelta(seconds=self.get_expiry_age())
        if self._ends_at and ends_at - self._ends_at < GRAIN:
            return
        if not self.model.objects.filter(session_key=self.session_key).update(expire_date=ends_at):
            raise UpdateError
        self._ends_at = ends_at
