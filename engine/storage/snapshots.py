"""Copies of SQLite databases, made while others read and write them. https://www.sqlite.org/backup.html"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from pathlib import Path

from engine.names import new_id
from engine.storage.atomic import sync_directory

KEPT = 3
BUSY_TIMEOUT_S = 5.0


def copy(database: Path, target: Path) -> None:
    """One moment of ``database`` as a file of its own, synced; sqlite3.Error or OSError, and then no file.

    Read through a connection of its own: a writer's uncommitted change is not in it.
    """
    source = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            made = sqlite3.connect(target, isolation_level=None)
            try:
                source.backup(made)
                made.execute("PRAGMA journal_mode = DELETE")  # all of it in one file
            finally:
                made.close()
            descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    finally:
        source.close()


def before_migration(database: Path, version: str, directory: Path) -> Path:
    """Keep ``database`` as it is at ``version``, and of such copies the last KEPT; the path of the new one."""
    directory.mkdir(mode=0o700, exist_ok=True)
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = directory / f"{database.stem}-{version}-{now}{database.suffix}"
    temporary = directory / f".{kept.name}.{new_id()[:8]}"
    copy(database, temporary)
    temporary.rename(kept)
    sync_directory(directory)
    made = sorted(directory.glob(f"{database.stem}-*{database.suffix}"), key=lambda path: path.stat().st_mtime_ns)
    for old in made[:-KEPT]:
        old.unlink()
    return kept


def put_back(kept: Path, database: Path) -> None:
    """Make ``database`` what a copy of it holds, all or nothing, whoever else has it open; the copy stays."""
    source = sqlite3.connect(f"{kept.as_uri()}?mode=ro", uri=True)
    try:
        target = sqlite3.connect(database, timeout=BUSY_TIMEOUT_S)
        try:
            source.backup(target)
        finally:
            target.close()
    finally:
        source.close()


def faults(path: Path, most: int = 10) -> list[str]:
    """What is wrong inside a database; [] when nothing is. https://www.sqlite.org/pragma.html#pragma_quick_check"""
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
        try:
            found = [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({most})")]
            return [line for line in found if line != "ok" and not _imagined(connection, line)]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return [str(error)]


def _imagined(connection: sqlite3.Connection, line: str) -> bool:
    """SQLite 3.40, Debian 12's, sees NULLs in tables WITHOUT ROWID where there are none; a query does not."""
    match = re.fullmatch(r"NULL value in (\w+)\.(\w+)", line)
    if not match:
        return False
    return connection.execute(f"SELECT 1 FROM {match[1]} WHERE {match[2]} IS NULL LIMIT 1").fetchone() is None
