"""What the list of containers is filtered, counted and sorted by, kept in memory: a look costs what has changed since.

Rows change with events, runs with the records in WHARFIE_RUN/shims. Where neither tells, as when launcher, shim and
container were killed together, the kernel does: each look asks it about some of those that are thought to run.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from engine.containers.endings import stored
from engine.containers.records import Records
from engine.containers.spec import ExitRecord, Limits, State
from engine.containers.versions import read_spec
from engine.errors import EngineError
from engine.events import Events
from engine.shim import health
from engine.storage.database import Database
from engine.storage.paths import Paths

ASKED = 25  # of those thought to run, at each look
SAME_LOOK_S = 0.02  # a page looks twice: for the events before it, and for what it shows
SETTLED_NS = 50_000_000  # a directory's time is the clock's tick: one that has just changed may change within it again
MOST_EVENTS = 1000  # as many as `Events.after` gives at once
FAILED = "failed"  # beside the states and a check's STARTING and UNHEALTHY: what lists say of one that ended so
_COLUMNS = "id, name, image, created_at_ns, created_by, started_at_ns, spec, exit"

Stamp = tuple[int, int]  # inode and time of a record, which is replaced as a whole


@dataclass(frozen=True, slots=True)
class Entry:
    """One container, as far as the list needs it before it is read in full."""

    id: str
    name: str
    image: str
    owner: str  # who created it; "" the command line
    created_at_ns: int
    state: State
    status: str  # what lists say of it: its state, STARTING or UNHEALTHY of one that runs, FAILED of one that ended so
    checked: bool  # it has a health check
    told: bool  # how its last run ended is in its row
    sought: str  # what a search looks through
    limits: Limits  # of one that is not broken


class Census:
    """Counts containers. Thread-safe."""

    def __init__(self, paths: Paths, database: Database, events: Events, records: Records) -> None:
        self._paths = paths
        self._database = database
        self._events = events
        self._records = records
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        """Know nothing: the next look takes everything in."""
        self._seq = -1
        self._rest: dict[str, Entry] = {}  # each as if it did not run
        self._now: dict[str, Entry] = {}
        self._ordered: list[Entry] | None = None
        self._stamps: dict[tuple[str, str], Stamp] = {}
        self._scanned: Stamp | None = None
        self._turns: dict[str, None] = {}  # those that run, each once: who is asked next
        self._asked_s = 0.0  # when the last of them were

    def look(self) -> list[Entry]:
        """All containers, the newest first."""
        with self._lock:
            try:
                return self._look()
            except BaseException:  # what was told is not all taken in, and will not be told again
                self._forget()
                raise

    def last_event(self) -> int:
        """The newest event's number, once the ends are told that nobody has looked at: else who asks what has come
        since would never hear of them. On a disk that is full they wait, and the rest is told all the same."""
        with suppress(EngineError):
            self.look()
        return self._events.last()

    def _look(self) -> list[Entry]:
        touched = self._news() | self._moved()
        again = time.monotonic() - self._asked_s < SAME_LOOK_S
        turn = [] if again else list(islice(self._turns, ASKED))
        for container_id in turn:
            del self._turns[container_id]
        for container_id in touched.union(turn):
            self._ask(container_id)
        if turn:
            self._asked_s = time.monotonic()
        self._turns |= {each: None for each in turn if each in self._now and self._now[each].state.alive}
        if self._ordered is None:
            self._ordered = sorted(self._now.values(), key=lambda entry: entry.created_at_ns, reverse=True)
        return self._ordered

    def _news(self) -> set[str]:
        """The containers whose rows have changed, read again."""
        last = self._events.last()
        if last == self._seq:
            return set()
        events = self._events.after(self._seq) if 0 <= self._seq < last else []
        if not events or len(events) == MOST_EVENTS or events[0].seq != self._seq + 1:
            self._seq = last
            rows = self._database.rows(f"SELECT {_COLUMNS} FROM containers")
            gone = set(self._rest)
        else:
            self._seq = events[-1].seq
            gone = {event.object_id for event in events if event.kind == "container"}
            marks = ", ".join("?" * len(gone))
            rows = self._database.rows(f"SELECT {_COLUMNS} FROM containers WHERE id IN ({marks})", tuple(gone))
        touched = gone | {row["id"] for row in rows}
        for container_id in gone.difference(row["id"] for row in rows):
            self._rest.pop(container_id, None)
        for row in rows:
            self._rest[row["id"]] = self._entry(row)
        return touched

    def _entry(self, row: sqlite3.Row) -> Entry:
        stopped = State.CREATED if row["started_at_ns"] is None else State.EXITED
        try:
            spec = read_spec(row["spec"])
        except ValueError:
            spec = None
        labels = [f"{name}={value}" for name, value in spec.labels.items()] if spec else []
        end = stored(row)
        return Entry(
            id=row["id"],
            name=row["name"],
            image=row["image"],
            owner=row["created_by"],
            created_at_ns=row["created_at_ns"],
            state=stopped if spec else State.BROKEN,
            status=_ended(stopped, end) if spec else State.BROKEN,
            checked=bool(spec and spec.health),
            told=end is not None,
            limits=spec.limits if spec else Limits(),
            sought=" ".join((row["name"], row["image"], row["id"], row["created_by"], *labels)).casefold(),
        )

    def _moved(self) -> set[str]:
        """The containers whose records have been written or taken away."""
        about = os.stat(self._paths.shims)
        stamp = (about.st_ino, about.st_mtime_ns)
        if stamp == self._scanned:
            return set()
        self._scanned = stamp if time.time_ns() - about.st_mtime_ns > SETTLED_NS else None
        found: dict[tuple[str, str], Stamp] = {}
        with os.scandir(self._paths.shims) as entries:
            for each in entries:
                name, _, kind = each.name.partition(".")
                if kind in ("json", "health"):
                    try:
                        record = each.stat(follow_symlinks=False)
                    except FileNotFoundError:  # taken away meanwhile
                        continue
                    found[name, kind] = (record.st_ino, record.st_mtime_ns)
        changed = dict(found.items() ^ self._stamps.items())
        self._stamps = found
        return {name for name, _kind in changed}

    def _ask(self, container_id: str) -> None:
        rest = self._rest.get(container_id)
        before = self._now.pop(container_id, None)
        entry = None
        if rest is not None:
            now = self._records.now(container_id) if rest.state is not State.BROKEN else None
            if now is None and rest.state is State.EXITED and not rest.told:
                rest = self._rest[container_id] = self._end(rest)
            entry = replace(rest, state=now or rest.state, status=self._status(rest, now) if now else rest.status)
            self._now[container_id] = entry
            if entry.state.alive and not (before and before.state.alive):
                self._turns[container_id] = None
        if entry != before:
            self._ordered = None

    def _end(self, entry: Entry) -> Entry:
        """With how its last run ended, which whoever looks at it in full first writes into its row."""
        found = self._records.several([entry.id])
        end = found[0].exit if found and found[0].state is State.EXITED else None
        return replace(entry, status=_ended(State.EXITED, end), told=end is not None)

    def _status(self, entry: Entry, now: State) -> str:
        """Of one that runs."""
        if now is not State.RUNNING or not entry.checked:
            return now
        said: str = health.read(str(self._paths.health_record(entry.id)))["status"]
        return now if said == health.HEALTHY else said


def _ended(state: State, end: ExitRecord | None) -> str:
    return FAILED if end is not None and end.failed else state
