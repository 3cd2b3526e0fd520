"""What shims have written of their containers' runs, and whether the kernel still knows of them.

Whether one runs is asked of the kernel each time: its run record counts only with the pid's start time and this boot.
"""

from __future__ import annotations

from typing import Any

from engine.cgroups import manager
from engine.containers.spec import State
from engine.linux import files, process
from engine.storage import documents, instance
from engine.storage.paths import Paths

# What a run record says: pids, each with its process's start time in clock ticks since boot, and in which boot.
_RUN_FACTS = {
    "pid": int, "start_time": int, "shim_pid": int, "shim_start_time": int, "boot_id": str, "started_at_ns": int,
}  # fmt: skip


class Runs:
    """Reads run records and exit records."""

    def __init__(self, instance_id: str, paths: Paths) -> None:
        self._instance = instance_id
        self._paths = paths
        self._boot_id = process.boot_id()

    def running(self, container_id: str) -> dict[str, Any] | None:
        """The run record of a container whose init lives, else None."""
        record = self._run_record(container_id)
        return record if record is not None and self._lives(record, "pid", "start_time") else None

    def now(self, container_id: str) -> State | None:
        """Its state while it is alive, BROKEN when its run record is damaged; None when it does not run."""
        try:
            record = self._read_run(container_id)
        except ValueError:
            return State.BROKEN
        if record is None:
            return None
        if self._rests(container_id, record):
            return State.RESTARTING
        if not self._lives(record, "pid", "start_time"):
            return None
        return State.PAUSED if manager.group(self._instance, container_id).frozen() else State.RUNNING

    def orphaned(self) -> bool:
        """Whether a container has lost its shim; a launcher that lives gives it another one."""
        ids = [path.stem for path in self._paths.shims.glob("[!.]*.json")]
        return any(self.shim(each) is None and self._run_record(each) is not None for each in ids)

    def shim(self, container_id: str) -> int | None:
        """The pid of a container's shim, which may live a little longer than its init; None when it is gone."""
        record = self._run_record(container_id)
        return record["shim_pid"] if record and self._lives(record, "shim_pid", "shim_start_time") else None

    def awaited(self, container_id: str) -> bool:
        """Whether its shim lives, or a new one is on its way."""
        return self.shim(container_id) is not None or instance.is_locked(self._paths.request(container_id))

    def ended_after(self, container_id: str, began_ns: int) -> bool:
        """Whether a run that began later than that has ended, and how is on record."""
        told: int = self._exit_text(container_id).get("started_at_ns", 0)
        return told > began_ns

    def _run_record(self, container_id: str) -> dict[str, Any] | None:
        """As `_read_run`; None when it is damaged, too."""
        try:
            return self._read_run(container_id)
        except ValueError:
            return None

    def _read_run(self, container_id: str) -> dict[str, Any] | None:
        """What the shim wrote when it started the last run, in this boot or an earlier one; None when it is cleared.

        ValueError when it is damaged.
        """
        try:
            record = documents.parse(files.content(str(self._paths.run_record(container_id))))
        except FileNotFoundError:
            return None
        if type(record) is not dict or any(type(record.get(name)) is not kind for name, kind in _RUN_FACTS.items()):
            raise ValueError("its facts are not those of a run")
        return record

    def _lives(self, record: dict[str, Any], pid: str, start_time: str) -> bool:
        """A pid alone means nothing: it counts with its start time and in its boot."""
        same_boot: bool = record["boot_id"] == self._boot_id
        return same_boot and process.start_time(record[pid]) == record[start_time]

    def _rests(self, container_id: str, record: dict[str, Any]) -> bool:
        """Whether it waits for its next run. A shim killed meanwhile gets a successor, unless somebody stopped it."""
        if not record.get("resting"):
            return False
        wished = record["boot_id"] == self._boot_id and self._paths.restart(container_id).exists()
        return wished or self._lives(record, "shim_pid", "shim_start_time")

    def _exit_text(self, container_id: str) -> dict[str, Any]:
        """What the exit record says; {} when there is none, or it is damaged."""
        try:
            text = files.content(str(self._paths.exit_record(container_id)))
            found = documents.parse(text) if text else {}
        except (FileNotFoundError, ValueError):
            return {}
        return found if type(found) is dict and type(found.get("started_at_ns")) is int else {}

    def _replaced(self, container_id: str) -> bool:
        """Whether a launcher is there to replace its shim, or its keeper, or the new one is on its way; one of an older
        Wharfie left no request to do that by."""
        request = self._paths.request(container_id)
        locks = (self._paths.launcher_lock, self._paths.keeper_lock, request)
        return request.exists() and any(map(instance.is_locked, locks))
