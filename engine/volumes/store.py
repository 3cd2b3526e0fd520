"""Named volumes: directories that outlive containers. On disk their files have the ids that containers see;
each mount is idmapped into the container's own range, so one volume can serve many containers."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress

from engine import names
from engine.errors import AlreadyExists, Busy, EngineError, NotFound
from engine.events import Events
from engine.storage import atomic
from engine.storage.database import Database
from engine.storage.paths import Paths
from engine.storage.trash import Trash
from engine.volumes.spec import Volume


class VolumeStore:
    """Create, list and remove volumes."""

    def __init__(self, paths: Paths, database: Database, events: Events, trash: Trash) -> None:
        self._paths = paths
        self._database = database
        self._events = events
        self._trash = trash

    def list(self) -> list[Volume]:
        """All volumes by name, with the containers that mount them."""
        users: dict[str, list[str]] = {}
        for row in self._database.rows(
            "SELECT DISTINCT volume, containers.name AS name FROM container_volumes "
            "JOIN containers ON containers.id = container_id ORDER BY containers.name"
        ):
            users.setdefault(row["volume"], []).append(row["name"])
        rows = self._database.rows("SELECT name, created_at_ns FROM volumes ORDER BY name")
        return [Volume(row["name"], row["created_at_ns"], tuple(users.get(row["name"], ()))) for row in rows]

    def create(self, name: str, now: int | None = None) -> Volume:
        """Make an empty volume; AlreadyExists when the name is taken. ``now``: when that is, to tell it by later."""
        names.volume_name(name)
        now = now or time.time_ns()
        directory = self._paths.volumes / name
        made = False  # before, whatever is there under that name is another's
        grave = None
        try:
            with self._database.transaction(durable=True) as connection:
                connection.execute("INSERT INTO volumes VALUES (?, ?)", (name, now))
                made = True
                self._events.add(connection, "volume", "create", name, name)
                atomic.intend(directory, self._paths.trash)
                grave = atomic.bury(directory, self._paths.trash)  # of a removal that a crash cut short
                self._paths.volume(name).mkdir(mode=0o755, parents=True)
                atomic.sync_directory(self._paths.volumes)
        except sqlite3.IntegrityError as error:
            raise AlreadyExists(
                f"there is a volume {name!r} already", hint="choose another name", field="name", subject=name
            ) from error
        except BaseException:
            if made:
                with suppress(EngineError):  # the first error is what is told, and the note stays for `tidy`
                    self._clear(name)
            self._trash.delete(grave)
            raise
        atomic.agree(directory, self._paths.trash)
        self._events.wake()
        self._trash.delete(grave)
        return Volume(name, now)

    def tidy(self) -> None:
        """Take away directories that no row tells of: a crash in the middle of making or removing one left them."""
        with self._database.transaction() as connection:
            known = {row["name"] for row in connection.execute("SELECT name FROM volumes")}
            atomic.settle(self._paths.volumes, self._paths.trash, known)

    def remove(self, name: str) -> None:
        """Delete a volume and its data; Busy while a container mounts it."""
        volume = next((volume for volume in self.list() if volume.name == name), None)
        if volume is None:
            raise NotFound(f"there is no volume {name!r}", hint="see the list of volumes", subject=name)
        directory = self._paths.volumes / name
        try:
            with self._database.transaction(durable=True) as connection:
                connection.execute("DELETE FROM volumes WHERE name = ?", (name,))
                self._events.add(connection, "volume", "remove", name, name)
                atomic.intend(directory, self._paths.trash)
        except sqlite3.IntegrityError as error:
            raise Busy(
                f"volume {name!r} is used by {', '.join(volume.used_by)}",
                hint="remove these containers first",
                subject=name,
            ) from error
        self._clear(name)
        self._events.wake()

    def _clear(self, name: str) -> None:
        """Take away the directory of a volume that has no row. That is asked in a transaction: another process may have
        made a volume of that name since."""
        directory = self._paths.volumes / name
        with self._database.transaction() as connection:
            if not connection.execute("SELECT 1 FROM volumes WHERE name = ?", (name,)).fetchone():
                self._trash.discard(directory)
                atomic.agree(directory, self._paths.trash)
