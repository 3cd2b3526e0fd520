"""state.db: what the engine knows, shared by every process that holds an Engine.

SQLite in WAL mode. Processes agree through its transactions, not through a daemon. Two kinds:
`transaction(durable=True)` for what a user was told is done (create, remove, exit; synchronous=FULL,
one fsync), and the cheap kind for what the kernel can tell again after a power cut.
https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import errno
import operator
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakSet

from engine.errors import Corrupt, EngineError, Unavailable
from engine.linux import files
from engine.storage import snapshots

# One entry a schema version; entry n brings a store from version n to n + 1. Never edit one that was released.
MIGRATIONS = (
    """
    CREATE TABLE layers (
        diff_id TEXT PRIMARY KEY,
        size_bytes INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE images (
        id TEXT PRIMARY KEY,
        config TEXT NOT NULL,           -- the image's config document, byte for byte
        architecture TEXT NOT NULL,
        created_at_ns INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE image_layers (
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        position INTEGER NOT NULL,      -- 0 is the lowest
        diff_id TEXT NOT NULL REFERENCES layers(diff_id),
        PRIMARY KEY (image_id, position)
    ) WITHOUT ROWID;
    CREATE TABLE tags (
        reference TEXT PRIMARY KEY,
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE TABLE containers (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        image TEXT NOT NULL,
        image_id TEXT NOT NULL REFERENCES images(id),
        spec TEXT NOT NULL,             -- JSON of ContainerSpec
        argv TEXT NOT NULL,             -- JSON list
        uid_base INTEGER NOT NULL UNIQUE,
        created_at_ns INTEGER NOT NULL,
        started_at_ns INTEGER,          -- of the current or last run
        exit TEXT                       -- JSON of ExitRecord, NULL while a run has not ended
    ) WITHOUT ROWID;
    CREATE INDEX containers_by_image ON containers (image_id);
    CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        created_at_ns INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE container_volumes (
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        volume TEXT NOT NULL REFERENCES volumes(name),
        target TEXT NOT NULL,
        PRIMARY KEY (container_id, target)
    ) WITHOUT ROWID;
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        time_ns INTEGER NOT NULL,
        kind TEXT NOT NULL,             -- container, image, volume
        action TEXT NOT NULL,
        object_id TEXT NOT NULL,
        name TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT '{}'
    );
    """,
    # The last status of its health check that an event has told of.
    "ALTER TABLE containers ADD COLUMN health TEXT",
    # Who created it, and what it was asked to be before each change of that. The first version is the row's own until
    # there is a second one.
    """
    ALTER TABLE containers ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
    CREATE TABLE container_versions (
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        number INTEGER NOT NULL,        -- from 1 on
        time_ns INTEGER NOT NULL,
        by TEXT NOT NULL,               -- user name, empty: the command line
        change TEXT NOT NULL,           -- create, rename, update, restore, recreate
        spec TEXT NOT NULL,             -- JSON of ContainerSpec
        PRIMARY KEY (container_id, number)
    ) WITHOUT ROWID
    """,
)

BUSY_TIMEOUT_S = 5.0
LOG_BYTES = 4 * 2**20


# SQLite does not check what it stores. A flipped bit that makes no UTF-8 spoils one value, not every query it is in.
lenient_text = operator.methodcaller("decode", "utf-8", "replace")


class _Connection(sqlite3.Connection):
    """One that can be referred to weakly."""


class Database:
    """Connections to state.db, one per thread. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._backups = path.with_name("backups")
        self._local = threading.local()
        self._opened: WeakSet[_Connection] = WeakSet()  # a thread that ends takes its own along
        self._lock = threading.Lock()
        self._writes = threading.Lock()  # in turn: SQLite has who finds another writer sleep, and longer each time
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise
        reserve_log(self._path)

    def _connection(self) -> sqlite3.Connection:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, factory=_Connection
            )
            with self._lock:
                self._opened.add(connection)
            connection.row_factory = sqlite3.Row
            connection.text_factory = lenient_text
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = NORMAL")
            self._local.connection = connection
        return connection

    def _migrate(self) -> None:
        with self._translated():
            connection = self._connection()
            if self._version(connection) == len(MIGRATIONS):
                return
            connection.execute("BEGIN EXCLUSIVE")
            try:
                self._bring_up(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite has rolled back by itself what the disk refused
                    connection.execute("ROLLBACK")
                raise

    def _bring_up(self, connection: sqlite3.Connection) -> None:
        """From whatever version it has to this one's, in the caller's transaction. What was there is kept as a file."""
        version = self._version(connection)
        if version > len(MIGRATIONS):
            raise Corrupt(
                f"{self._path} has schema {version} of a newer Wharfie; this one knows {len(MIGRATIONS)} at most",
                hint=f"run the newer one, or go back to a copy of before: see {self._backups}",
            )
        kept = None
        if 0 < version < len(MIGRATIONS):  # nobody else can write now, and the copy is read beside this transaction
            kept = snapshots.before_migration(self._path, f"v{version}", self._backups)
        for step in MIGRATIONS[version:]:
            for statement in step.split(";"):
                try:
                    connection.execute(statement)
                except sqlite3.Error as error:
                    raise Corrupt(
                        f"{self._path} cannot be brought from schema {version} to {len(MIGRATIONS)}: {error}",
                        hint="it is as it was: run the Wharfie of before" + (f"; a copy is {kept}" if kept else ""),
                    ) from error
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A write transaction; on return it is committed, and with ``durable`` it survives a power cut.

        Unavailable when others write for longer than BUSY_TIMEOUT_S: first those of this process, then of another one.
        """
        connection = self._connection()
        with self._translated(), self._turn():
            if durable:
                connection.execute("PRAGMA synchronous = FULL")
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:  # SQLite has rolled back by itself what the disk refused
                        connection.execute("ROLLBACK")
                    raise
            finally:
                if durable:
                    connection.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._writes.acquire(timeout=BUSY_TIMEOUT_S):
            raise Unavailable("the state database is busy", hint="try again in a moment")
        try:
            yield
        finally:
            self._writes.release()

    def rows(self, sql: str, parameters: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """All rows of one query."""
        with self._translated():
            return self._connection().execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: tuple[object, ...] = ()) -> sqlite3.Row | None:
        """The first row of one query, or None."""
        with self._translated():
            found: sqlite3.Row | None = self._connection().execute(sql, parameters).fetchone()
            return found

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            for connection in self._opened:
                connection.close()
            self._opened.clear()
        self._local = threading.local()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise  # the caller knows which rule its row broke
        except sqlite3.DatabaseError as error:
            raise explained(error, "the state database", self._path) from error


def reserve_log(path: Path) -> None:
    """Room for a thousand pages of an open database's log, so that on a full disk what frees some can be written down,
    and people can sign in to do it."""
    try:
        descriptor = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        files.reserve(descriptor, LOG_BYTES)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # full already
            raise
    finally:
        os.close(descriptor)


def explained(error: sqlite3.DatabaseError, what: str, path: Path) -> EngineError:
    """What to tell people of a fault that SQLite found in a database; https://www.sqlite.org/rescode.html"""
    if not isinstance(error, sqlite3.OperationalError):
        backups = path.with_name("backups")
        return Corrupt(f"{what} is damaged: {error}", hint=f"restore a backup, or a copy in {backups}")
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(f"{what} is locked by another process", hint="try again in a moment")
    return Unavailable(f"{what} cannot be used: {error}", hint=f"check the disk of {path}")
