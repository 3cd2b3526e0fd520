"""What happened, in order, for every process: a table that is true, and datagrams that say when to look."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from engine.linux import unix
from engine.names import new_id
from engine.storage import documents, wakeups
from engine.storage.database import Database
from engine.storage.paths import Paths

KEPT = 10_000
# What happens by itself is nobody's act, whoever looks when it is noticed.
BY_ITSELF = frozenset({"die", "health_status", "oom"})

_acting: ContextVar[str] = ContextVar("acting", default="")


@contextmanager
def acting(name: str) -> Iterator[None]:
    """Inside, what this thread or task does is told as this person's act; outside, as the command line's."""
    token = _acting.set(name)
    try:
        yield
    finally:
        _acting.reset(token)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one object."""

    seq: int  # rising; ask for what came after it
    time_ns: int  # Unix time
    kind: str  # container, image, volume; account, of the console's
    action: str
    object_id: str
    name: str
    detail: dict[str, Any]

    @property
    def by(self) -> str:
        """Who did it; "" for the command line, and for what happened by itself."""
        return str(self.detail.get("by", ""))


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to find; what is empty leaves all."""

    before: int = 0  # a sequence number: older ones than that
    kind: str = ""
    without: str = ""  # a kind
    action: str = ""
    object_id: str = ""
    name: str = ""  # a part of it
    by: str = ""
    since_ns: int = 0
    until_ns: int = 0


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
        self, connection: sqlite3.Connection, kind: str, action: str, object_id: str, name: str,
        *, at_ns: int = 0, by_itself: bool = False, **detail: Any,
    ) -> None:  # fmt: skip
        """Add an event inside the caller's transaction; call `wake` after its commit.

        ``at_ns`` is when it happened, Unix time in ns, where that is known; what no table holds is a damaged record's.
        What happened ``by_itself`` nobody has done who looks when it is told.
        """
        known = 0 < at_ns < 2**63
        if action not in BY_ITSELF and not by_itself and (by := _acting.get()):
            detail.setdefault("by", by)
        cursor = connection.execute(
            "INSERT INTO events (time_ns, kind, action, object_id, name, detail) VALUES (?, ?, ?, ?, ?, ?)",
            (at_ns if known else time.time_ns(), kind, action, object_id, name, json.dumps(detail)),
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
        return self.find(EventFilter(object_id=object_id, action=action), count)

    def find(self, wish: EventFilter, count: int = 100) -> list[Event]:
        """Those that a filter leaves, the newest first."""
        terms = {
            "seq < ?": wish.before or None,
            "kind = ?": wish.kind or None,
            "kind != ?": wish.without or None,
            "action = ?": wish.action or None,
            "object_id = ?": wish.object_id or None,
            "name LIKE ? ESCAPE '\\'": f"%{_literal(wish.name)}%" if wish.name else None,
            "time_ns >= ?": wish.since_ns or None,
            "time_ns < ?": wish.until_ns or None,
            "json_valid(detail) AND json_extract(detail, '$.by') = ?": wish.by or None,
        }
        chosen = {term: value for term, value in terms.items() if value is not None}
        where = " AND ".join(chosen) or "1"
        rows = self._database.rows(
            f"SELECT * FROM events WHERE {where} ORDER BY seq DESC LIMIT ?", (*chosen.values(), count)
        )
        return [Event(**(dict(row) | {"detail": _detail(row["detail"])})) for row in rows]

    def last(self) -> int:
        """The newest sequence number; 0 before the first event."""
        row = self._database.row("SELECT max(seq) FROM events")
        return (row[0] or 0) if row else 0

    def subscribe(self) -> Subscription:
        """A new subscription; the caller closes it."""
        return Subscription(self._paths)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _detail(text: str) -> dict[str, Any]:
    """What more there is to say; nothing when it is damaged, for the event itself is true all the same."""
    try:
        return documents.build(dict[str, Any], documents.parse(text))
    except ValueError:
        return {}
