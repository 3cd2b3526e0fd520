"""What happened, in order, for every process: a table that is true, and datagrams that say when to look."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from engine.linux import unix
from engine.names import new_id
from engine.storage import documents, wakeups
from engine.storage.database import Database
from engine.storage.paths import Paths

KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one object."""

    seq: int  # rising; ask for what came after it
    time_ns: int  # Unix time
    kind: str  # container, image, volume
    action: str
    object_id: str
    name: str
    detail: dict[str, Any]


class Subscription:
    """A descriptor that turns readable when something happened in any process of this instance."""

    def __init__(self, paths: Paths) -> None:
        self._path = paths.events / f"{os.getpid()}-{new_id()[:8]}.sock"
        self._socket = unix.bind(str(self._path), socket.SOCK_DGRAM)

    def fileno(self) -> int:
        """For poll, or asyncio's add_reader."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Take the wake-ups that came so far."""
        try:
            while True:
                self._socket.recv(16)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Leave."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


class Events:
    """The event log of an instance."""

    def __init__(self, paths: Paths, database: Database) -> None:
        self._paths = paths
        self._database = database

    def add(
        self, connection: sqlite3.Connection, kind: str, action: str, object_id: str, name: str, **detail: Any
    ) -> None:
        """Add an event inside the caller's transaction; call `wake` after its commit."""
        cursor = connection.execute(
            "INSERT INTO events (time_ns, kind, action, object_id, name, detail) VALUES (?, ?, ?, ?, ?, ?)",
            (time.time_ns(), kind, action, object_id, name, json.dumps(detail)),
        )
        if cursor.lastrowid and cursor.lastrowid % 100 == 0:
            connection.execute("DELETE FROM events WHERE seq <= ?", (cursor.lastrowid - KEPT,))

    def publish(self, kind: str, action: str, object_id: str, name: str, **detail: Any) -> None:
        """Add an event in a transaction of its own, and wake the watchers."""
        with self._database.transaction() as connection:
            self.add(connection, kind, action, object_id, name, **detail)
        self.wake()

    def wake(self) -> None:
        """Tell the watchers that there is something to look at."""
        wakeups.wake(str(self._paths.events))

    def after(self, seq: int) -> list[Event]:
        """Events after a sequence number, oldest first, at most 1,000."""
        rows = self._database.rows("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT 1000", (seq,))
        return [Event(**(dict(row) | {"detail": _detail(row["detail"])})) for row in rows]

    def of(self, object_id: str, action: str, count: int) -> list[Event]:
        """The newest events of this kind that are still known of an object, the newest first."""
        rows = self._database.rows(
            "SELECT * FROM events WHERE object_id = ? AND action = ? ORDER BY seq DESC LIMIT ?",
            (object_id, action, count),
        )
        return [Event(**(dict(row) | {"detail": _detail(row["detail"])})) for row in rows]

    def last(self) -> int:
        """The newest sequence number; 0 before the first event."""
        row = self._database.row("SELECT max(seq) FROM events")
        return (row[0] or 0) if row else 0

    def subscribe(self) -> Subscription:
        """A new subscription; the caller closes it."""
        return Subscription(self._paths)


def _detail(text: str) -> dict[str, Any]:
    """What more there is to say; nothing when it is damaged, for the event itself is true all the same."""
    try:
        return documents.build(dict[str, Any], documents.parse(text))
    except ValueError:
        return {}
