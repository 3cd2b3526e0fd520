"""state.db as the doctor reads it: not through a `Database`, which brings an old schema up to date, or refuses it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from engine.storage.database import lenient_text
from engine.storage.paths import Paths

CONTAINERS = "SELECT id, name, spec, argv FROM containers"
LAYERS = "SELECT diff_id, size_bytes FROM layers"
VOLUMES = "SELECT name FROM volumes"


def rows(paths: Paths, query: str) -> list[tuple[str, ...]]:
    """Of state.db; sqlite3.Error when it cannot be read."""
    with closing(sqlite3.connect(f"{paths.database.as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = lenient_text
        return connection.execute(query).fetchall()


def unreadable(paths: Paths) -> str:
    """Why state.db cannot be read; "" when it can."""
    try:
        for query in (CONTAINERS, LAYERS, VOLUMES):
            rows(paths, query)
    except sqlite3.Error as error:
        return str(error)
    return ""
