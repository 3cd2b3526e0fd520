"""console.db, which Django keeps: room for its log, and what people are told of its faults.

A full disk must not keep out who comes to make room on it: signing in writes a session.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver

from engine.errors import EngineError
from engine.storage import database


@receiver(connection_created, dispatch_uid="console.database")
def _reserve_log(connection: BaseDatabaseWrapper, **_more: object) -> None:
    """With each connection: the log goes with the last one, and comes again with the first one's first look."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sqlite_schema LIMIT 1")
    database.reserve_log(Path(connection.settings_dict["NAME"]))


def explained(fault: BaseException | None) -> EngineError | None:
    """A fault of the database itself, which Django passed on, in words that say what to do; None for any other one."""
    cause = fault.__cause__ if isinstance(fault, DatabaseError) else None
    if not isinstance(cause, sqlite3.DatabaseError) or isinstance(cause, sqlite3.IntegrityError):
        return None
    return database.explained(cause, "the console's database", settings.PATHS.console_database)
