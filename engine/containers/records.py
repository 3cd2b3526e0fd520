"""Containers in state.db, and what `engine.containers.runs` says of them: rows in, `Container` out."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from engine.cgroups import manager
from engine.containers.endings import DAMAGED, earlier, judged, stored
from engine.containers.runs import Runs
from engine.containers.spec import Container, ContainerSpec, ExitRecord, Health, State
from engine.containers.versions import read_spec
from engine.errors import Busy, InvalidRequest, NotFound
from engine.events import Events
from engine.linux import files
from engine.shim import health
from engine.storage import documents, instance
from engine.storage.database import Database
from engine.storage.paths import Paths

WAIT_S = 150.0  # for who changes it: longer than a start, tried twice, may take
BRIEFLY_S = 2.0  # for what need not be done just now
_PREFIX = re.compile(r"[0-9a-f]{4,64}")


class Records(Runs):
    """Reads containers."""

    def __init__(self, instance_id: str, paths: Paths, database: Database, events: Events) -> None:
        super().__init__(instance_id, paths)
        self._database = database
        self._events = events

    def all(self) -> list[Container]:
        """Every container, the newest first."""
        rows = self._database.rows("SELECT * FROM containers ORDER BY created_at_ns DESC")
        return [self._container(row) for row in rows]

    def several(self, ids: Sequence[str]) -> list[Container]:
        """Those that are still there, the newest first."""
        query = f"SELECT * FROM containers WHERE id IN ({', '.join('?' * len(ids))}) ORDER BY created_at_ns DESC"
        return [self._container(row) for row in self._database.rows(query, tuple(ids))]

    def find(self, ref: str) -> Container:
        """One container by name, id or unique prefix of an id; NotFound, or InvalidRequest when several match."""
        row = self._database.row("SELECT * FROM containers WHERE name = ? OR id = ?", (ref, ref))
        if row is None and _PREFIX.fullmatch(ref):
            rows = self._database.rows("SELECT * FROM containers WHERE id LIKE ? LIMIT 2", (ref + "%",))
            if len(rows) > 1:
                raise InvalidRequest(f"{ref!r} matches several containers", hint="give more digits of the id")
            row = rows[0] if rows else None
        if row is None:
            raise missing(ref)
        return self._container(row)

    @contextmanager
    def locked(self, container: Container, wait_s: float = WAIT_S) -> Iterator[tuple[Container, int]]:
        """Held by whoever changes a container, so that two acts never interleave: what it is by then, and the lock's
        descriptor. NotFound when it was removed meanwhile; Busy when somebody holds it for longer than that."""
        with ExitStack() as stack:
            try:
                try:
                    lock = stack.enter_context(files.locked(str(self._paths.container_lock(container.id)), wait_s))
                except FileNotFoundError:  # its directory is lost, or it was removed meanwhile
                    lock = stack.enter_context(files.locked(str(self._paths.containers / ".lock"), wait_s))
            except TimeoutError:  # whose start hangs in the kernel, on a dead file server perhaps
                raise Busy(
                    f"somebody is changing container {container.name!r}, and has not done yet",
                    hint="try again later; if it never ends, look at the kernel's messages",
                    subject=container.name,
                ) from None
            row = self._database.row("SELECT * FROM containers WHERE id = ?", (container.id,))
            if row is None:
                raise missing(container.id)
            yield self._container(row, held=True), lock

    def _container(self, row: sqlite3.Row, *, held: bool = False) -> Container:
        """``held``: the caller has its lock."""
        what = "record"
        try:
            spec = read_spec(row["spec"])
            argv = documents.build(tuple[str, ...], documents.parse(row["argv"]))
            # Read before the exit record: a shim writes that first and takes this one away last, so one of them tells.
            what = "run record"
            record = self._read_run(row["id"])
        except ValueError as error:
            return self._make(
                row,
                State.BROKEN,
                ContainerSpec(image=row["image"], name=row["name"]),
                (),
                broken=f"its {what} is damaged: {error}",
            )
        try:
            return self._known(row, spec, argv, record, held=held)
        except ValueError as error:
            return self._make(row, State.BROKEN, spec, argv, broken=f"its run record is damaged: {error}")

    def _known(
        self, row: sqlite3.Row, spec: ContainerSpec, argv: tuple[str, ...], record: dict[str, Any] | None, *, held: bool
    ) -> Container:
        """What its records and the kernel say; ValueError when what they say of earlier runs is damaged."""
        row = self._adopted(row, record, held=held)
        if record is not None and (self._lives(record, "pid", "start_time") or self._ending(row, record)):
            state = State.PAUSED if manager.group(self._instance, row["id"]).frozen() else State.RUNNING
            return self._make(
                row, state, spec, argv, pid=record["pid"], started=record["started_at_ns"],
                restarts=record.get("restarts", 0), health=self._health(row) if spec.health else None,
            )  # fmt: skip
        if row["started_at_ns"] is None:
            return self._make(row, State.CREATED, spec, argv)
        if record is not None and self._rests(row["id"], record):
            last = stored(row)
            if last is None:
                with self._database.transaction() as connection:
                    last = self._die(connection, row, earlier(record)[-1])
            return self._make(
                row, State.RESTARTING, spec, argv, ended=last, restarts=record["restarts"], health=self._had(row, spec)
            )
        ended = stored(row) or self.fold(row)
        restarts = ended.restarts if ended else 0
        return self._make(row, State.EXITED, spec, argv, ended=ended, restarts=restarts, health=self._had(row, spec))

    @staticmethod
    def _make(
        row: sqlite3.Row, state: State, spec: ContainerSpec, argv: tuple[str, ...], *,
        pid: int | None = None, started: int | None = None, ended: ExitRecord | None = None, broken: str = "",
        restarts: int = 0, health: Health | None = None,
    ) -> Container:  # fmt: skip
        return Container(
            id=row["id"], name=row["name"], image=row["image"], image_id=row["image_id"], state=state,
            created_at_ns=row["created_at_ns"], started_at_ns=started or row["started_at_ns"], pid=pid, exit=ended,
            spec=spec, argv=argv, broken=broken, restarts=restarts, health=health,
            uid_base=row["uid_base"] if spec.namespaces.uid_base is None else spec.namespaces.uid_base,
        )  # fmt: skip

    def _adopted(self, row: sqlite3.Row, record: dict[str, Any] | None, *, held: bool) -> sqlite3.Row:
        """The row, with the runs that nobody has written down: its starter died before it could, or its shim has
        started it again. The shim's records tell."""
        told = record if record is not None else self._exit_text(row["id"])
        started: int = told.get("started_at_ns", 0)
        if started <= (row["started_at_ns"] or 0):
            return row
        over = told is not record or self._exit_text(row["id"]).get("started_at_ns") == started
        if not (over or held) and self._is_being_started(row["id"], record):
            return row  # its starter will say so itself, or take the record away when it comes to nothing
        with self._database.transaction() as connection:
            again: dict[str, bool] = {}
            for run in earlier(told):
                self.begun(connection, row["id"], run["started_at_ns"], by_itself=True, **again)
                self._die(connection, row, run)
                again = {"again": True}  # the next one by its policy
            self.begun(connection, row["id"], started, by_itself=True, **again)
        return self._database.row("SELECT * FROM containers WHERE id = ?", (row["id"],)) or row

    def _is_being_started(self, container_id: str, record: dict[str, Any] | None) -> bool:
        """Whether a starter was still at it when the record was read: who has left since may have taken it away."""
        lives = instance.is_locked(self._paths.container_lock(container_id))
        return lives or self._run_record(container_id) != record

    def _ending(self, row: sqlite3.Row, record: dict[str, Any]) -> bool:
        """Whether a run that nobody has written down yet has just ended, and its shim is about to say how."""
        unknown: bool = record["started_at_ns"] > (row["started_at_ns"] or 0) and not record.get("resting")
        return unknown and self._lives(record, "shim_pid", "shim_start_time")

    def begun(self, connection: sqlite3.Connection, container_id: str, started_at_ns: int, **detail: bool) -> None:
        """Write down a run, and tell of it, unless it or a later one is; ``detail`` as for `Events.add`."""
        changed = connection.execute(
            "UPDATE containers SET started_at_ns = ?1, exit = NULL, health = NULL"
            " WHERE id = ?2 AND (started_at_ns IS NULL OR started_at_ns < ?1)",
            (started_at_ns, container_id),
        ).rowcount
        if changed:
            (name,) = connection.execute("SELECT name FROM containers WHERE id = ?", (container_id,)).fetchone()
            self._events.add(connection, "container", "start", container_id, name, at_ns=started_at_ns, **detail)

    def _die(self, connection: sqlite3.Connection, row: sqlite3.Row, run: dict[str, Any]) -> ExitRecord:
        """Write down how a run ended, unless that is, or another one is the last."""
        ended = judged(row, run)
        changed = connection.execute(
            "UPDATE containers SET exit = ? WHERE id = ? AND exit IS NULL AND started_at_ns = ?",
            (documents.dump(ended), row["id"], run["started_at_ns"]),
        ).rowcount
        if changed:
            told = dataclasses.asdict(ended) | {"at_ns": ended.finished_at_ns}
            self._events.add(connection, "container", "die", row["id"], row["name"], **told)
        return ended

    def fold(self, row: sqlite3.Row) -> ExitRecord | None:
        """Take the shim's exit record into state.db, once; None while the shim has not written it yet.

        A shim that died with its container leaves no record; then the code is unknown, and said so.
        Not flushed to disk: the shim's record was, and a power failure has it folded again.
        """
        ended = self._read_exit(row)
        if ended is not None:
            self._health(row)  # its last change, which nobody has seen perhaps
            with self._database.transaction() as connection:
                self._die(connection, row, dataclasses.asdict(ended) | {"started_at_ns": row["started_at_ns"]})
        return ended

    def _read_health(self, container_id: str) -> Health:
        try:
            return documents.build(Health, health.read(str(self._paths.health_record(container_id))))
        except ValueError:  # damaged: its next check writes it anew
            return Health(health.STARTING, 0, ())

    def _had(self, row: sqlite3.Row, spec: ContainerSpec) -> Health | None:
        """What its checks had found when its last run ended; kept in memory, until it is started again."""
        found = self._read_health(row["id"]) if spec.health else None
        return found if found and found.results else None

    def _health(self, row: sqlite3.Row) -> Health:
        """What its checks have found in this run; a change of it makes an event, once."""
        found = self._read_health(row["id"])
        if found.status != (row["health"] or health.STARTING):
            with self._database.transaction() as connection:
                changed = connection.execute(
                    "UPDATE containers SET health = ? WHERE id = ? AND health IS ?",
                    (found.status, row["id"], row["health"]),
                ).rowcount
                if changed and found.status != health.STARTING:
                    at_ns = found.results[-1].finished_at_ns if found.results else 0
                    self._events.add(
                        connection, "container", "health_status", row["id"], row["name"], at_ns=at_ns,
                        status=found.status,
                    )  # fmt: skip
        return found

    def _read_exit(self, row: sqlite3.Row) -> ExitRecord | None:
        # In this order, and before the record is read: one that comes, or writes it and leaves, must not be missed.
        replaced = self._replaced(row["id"])
        shim_lives = self.shim(row["id"]) is not None
        try:
            text = files.content(str(self._paths.exit_record(row["id"])))  # empty while it runs
            record = documents.parse(text) if text else None
            if record is not None and documents.build(int, record["started_at_ns"]) >= row["started_at_ns"]:
                return judged(row, record)
        except FileNotFoundError:
            record = None
        except (ValueError, KeyError, TypeError):
            return ExitRecord(None, None, False, time.time_ns(), DAMAGED)
        if shim_lives or (replaced and self._run_record(row["id"])):
            return None  # or its shim was killed, and is being replaced
        fell = row["started_at_ns"] < time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        unseen = "its shim ended with it, so nobody saw the exit code, nor perhaps what it wrote last"
        reason = "the host went down with it" if fell else unseen
        return ExitRecord(None, None, False, time.time_ns(), reason)


def missing(ref: str) -> NotFound:
    """There is none."""
    return NotFound(f"there is no container {ref!r}", hint="see the list of containers", subject=ref)
