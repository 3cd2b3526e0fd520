"""What a container was asked to be, now and before: each change of its spec is kept, with when and by whom."""

from __future__ import annotations

import functools
import sqlite3
import time
from dataclasses import dataclass

from engine.containers.spec import Container, ContainerSpec
from engine.errors import NotFound
from engine.storage import documents
from engine.storage.database import Database

KEPT = 100  # versions of one container, the newest


@functools.lru_cache(2048)
def read_spec(text: str) -> ContainerSpec:
    """A row's spec, of which nothing is ever changed in place. ValueError when it is damaged."""
    return documents.load(ContainerSpec, text)


@dataclass(frozen=True, slots=True)
class Version:
    """What a container was asked to be from a time on."""

    number: int
    time_ns: int  # Unix time
    by: str  # who asked; "" the command line
    change: str  # create, rename, update, restore
    spec: ContainerSpec


def keep(connection: sqlite3.Connection, before: Container, spec: ContainerSpec, by: str, change: str) -> None:
    """Write down another spec of a container, in the caller's transaction, and that it is another version."""
    spoken = documents.dump(spec)
    connection.execute("UPDATE containers SET name = ?, spec = ? WHERE id = ?", (spec.name, spoken, before.id))
    last = connection.execute(
        "SELECT max(number) FROM container_versions WHERE container_id = ?", (before.id,)
    ).fetchone()[0]
    add = "INSERT INTO container_versions VALUES (?, ?, ?, ?, ?, ?)"
    if last is None:
        connection.execute(
            "INSERT INTO container_versions SELECT id, 1, created_at_ns, created_by, 'create', ? FROM containers"
            " WHERE id = ?",
            (documents.dump(before.spec), before.id),
        )
        last = 1
    connection.execute(add, (before.id, last + 1, time.time_ns(), by, change, spoken))
    connection.execute(
        "DELETE FROM container_versions WHERE container_id = ? AND number <= ?", (before.id, last + 1 - KEPT)
    )


def versions(database: Database, container: Container) -> list[Version]:
    """All that are kept, the newest first; the first of them is how it is now. One that is damaged is left out."""
    rows = database.rows(
        "SELECT number, time_ns, by, change, spec FROM container_versions WHERE container_id = ? ORDER BY number DESC",
        (container.id,),
    )
    if not rows:
        rows = database.rows(
            "SELECT 1, created_at_ns, created_by, 'create', spec FROM containers WHERE id = ?", (container.id,)
        )
    found = []
    for number, time_ns, by, change, spec in rows:
        try:
            found.append(Version(number, time_ns, by, change, read_spec(spec)))
        except ValueError:
            continue
    return found


def version(database: Database, container: Container, number: int) -> Version:
    """One of them; NotFound."""
    for found in versions(database, container):
        if found.number == number:
            return found
    raise NotFound(
        f"container {container.name!r} has no version {number}", hint="see its history", subject=container.name
    )
