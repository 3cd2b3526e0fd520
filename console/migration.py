"""Bring console.db to this version's tables, with a copy of it kept before."""

from __future__ import annotations

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from engine.storage import snapshots


def migrate() -> None:
    """Apply what is missing; CommandError when the database is a newer Wharfie's, or when a step fails."""
    executor = MigrationExecutor(connection)
    applied, known = set(executor.loader.applied_migrations), set(executor.loader.disk_migrations)
    path = settings.PATHS.console_database
    if strangers := sorted(".".join(name) for name in applied - known):
        latest = ".".join(max(name for name in known if name[0] == "accounts"))
        raise CommandError(
            f"{path} is of a newer Wharfie: it has {', '.join(strangers)}; this one knows {latest} at most. "
            f"Run the newer one, or go back to a copy of before: see {settings.PATHS.backups}"
        )
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    kept = snapshots.before_migration(path, f"v{len(applied)}", settings.PATHS.backups) if applied else None
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except Exception as error:
        if kept is None:
            raise
        # A later step failed after an earlier one was committed, so the file is neither the old nor the new one.
        connection.close()
        snapshots.put_back(kept, path)
        raise CommandError(
            f"{path} cannot be brought up to date: {error}. It is as it was before: run the Wharfie of before. "
            f"A copy is {kept}"
        ) from error
