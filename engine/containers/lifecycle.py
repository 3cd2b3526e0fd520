"""Start, restart and remove a container."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from engine.cgroups import manager
from engine.containers import roots, shims, state
from engine.containers.execution import first_session
from engine.containers.filling import Filling
from engine.containers.records import BRIEFLY_S, Records
from engine.containers.requests import Requests
from engine.containers.restarting import Restarting
from engine.containers.spec import Container, State
from engine.containers.stopping import AFTER_KILL_S, Patience, Stopping
from engine.containers.waiting import TAKEOVER_S
from engine.errors import BrokeOff, Busy, EngineError, KernelError, Late, NotFound, Unavailable
from engine.events import Events
from engine.images.spec import Image
from engine.launcher.client import LauncherClient
from engine.linux import files
from engine.security.spec import Caller
from engine.shim import ending
from engine.storage import atomic
from engine.storage.database import Database
from engine.storage.paths import Paths
from engine.storage.trash import Trash

ENDING_S = 0.5  # between two looks at one that is just ending
INIT_ENDS_S = 1.0  # by when one whose starter was killed has noticed
TRIES = 2  # of a start, when the launcher is killed in the middle of it


class Lifecycle:
    """The acts that change a container's state. Each holds the container's lock, so two never interleave."""

    def __init__(
        self,
        instance_id: str,
        paths: Paths,
        database: Database,
        events: Events,
        records: Records,
        launcher: LauncherClient,
        stopping: Stopping,
        restarts: Restarting,
        filling: Filling,
        trash: Trash,
    ) -> None:
        self._instance = instance_id
        self._paths = paths
        self._database = database
        self._events = events
        self._records = records
        self._launcher = launcher
        self._stopping = stopping
        self._restarts = restarts
        self._filling = filling
        self._trash = trash
        self._requests = Requests(instance_id, paths, records)

    def start(self, container: Container, image: Image, *, wished: bool = False) -> None:
        """Start it; on return its command has been executed. On error it is as it was before.

        With ``wished`` only if its restart policy still wishes that once nobody else can act on it.
        """
        state.require("start", container.state, container.name)
        self._await_end(container)
        with self._records.locked(container) as (container, lock), roots.locked(self._paths, container) as root_lock:
            state.require("start", container.state, container.name)
            if wished and not self._paths.restart(container.id).exists():
                return
            if container.exit is None and (
                container.state is State.EXITED or self._records.shim(container.id) is not None
            ):
                raise self._just_ending(container)
            self._clear(container)
            self._paths.exit_record(container.id).unlink(missing_ok=True)
            if container.state is State.CREATED:
                self._filling.fill(container, image)
            try:
                # Its starter holds both locks too: killed now, we leave nobody room to act while it goes on.
                answer = self._launched(container, self._requests.of(container, image), [root_lock, lock], TRIES)
            except (Late, Busy):  # its starter, or its shim, goes on with it
                raise
            except (EngineError, OSError) as error:
                if not wished:  # else it is tried again when the next console starts
                    self._restarts.forget(container)
                self._paths.request(container.id).unlink(missing_ok=True)
                if isinstance(error, OSError):
                    raise KernelError.from_os(error, "writing down what to start") from error
                raise
            if answer is not None:  # else it runs, and the next look takes that from its record
                with self._database.transaction() as connection:
                    self._records.begun(connection, container.id, answer["started_at_ns"])
        self._events.wake()

    def _await_end(self, container: Container) -> None:
        """Until its shim, or a new one, has said how it ended, if that is about to be said."""
        until = time.monotonic() + AFTER_KILL_S
        while container.state is State.EXITED and container.exit is None and time.monotonic() < until:
            if shims.ask(self._paths, container.id, {"op": "wait"}, ENDING_S) is None:
                time.sleep(TAKEOVER_S)
            container = self._records.find(container.id)

    def _launched(
        self, container: Container, request: dict[str, Any], locks: list[int], tries: int
    ) -> dict[str, Any] | None:
        """The launcher's answer; None when that was lost, but the shim was in charge already, or is done by now."""
        files.replace(request["request"], json.dumps(request).encode())
        self._restarts.wish(container)
        try:
            return self._launcher.call("start", request, locks)
        except Late:
            raise
        except Unavailable as error:
            if self._goes_on(container):
                return None
            self._clear(container)
            if self._records.ended_after(container.id, container.started_at_ns or 0):
                return None
            if isinstance(error, BrokeOff) and tries > 1:  # nothing is left of that start
                return self._launched(container, request, locks, tries - 1)
            raise

    def _goes_on(self, container: Container) -> bool:
        """Whether a start whose answer was lost has executed the command: its shim says so, or how that ended is on
        record, or its first process lives on without those that made it. An init does so for a moment only."""
        if shims.ask(self._paths, container.id, {"op": "signal", "signal": 0}, AFTER_KILL_S) is not None:
            return True
        if self._records.ended_after(container.id, container.started_at_ns or 0):
            return True
        record = self._records.running(container.id)
        if record is None:
            return False
        shims.wait_for_pid(record["pid"], INIT_ENDS_S)
        return self._records.running(container.id) is not None

    def tidy(self) -> None:
        """Take away what is left in WHARFIE_RUN of starts whose asker or starter was killed."""
        left = {path.name.partition(".")[0] for path in self._paths.shims.iterdir()}
        for found in self._records.all():
            if found.id not in left or found.state not in (State.CREATED, State.EXITED):
                continue
            try:
                with self._records.locked(found, BRIEFLY_S) as (container, _):
                    ended = container.state is State.EXITED and (container.exit or not self._records.awaited(found.id))
                    if ended or container.state is State.CREATED:
                        self._clear(container, keep_health=True)
            except NotFound:  # removed meanwhile, with all of it
                continue
            except (EngineError, OSError) as error:  # the others are cleared all the same
                print(f"wharfie: what is left of {found.name}: {error}", file=sys.stderr, flush=True)

    def _clear(self, container: Container, *, keep_health: bool = False) -> None:
        """Take away what a shim that was killed could not: its control groups, record and socket."""
        if (shim_pid := self._records.shim(container.id)) is not None:  # giving up the last run's file system
            shims.wait_for_pid(shim_pid, AFTER_KILL_S)
            if self._records.shim(container.id) is not None:
                raise self._just_ending(container)
        record = self._paths.run_record(container.id)
        door = self._paths.shim_socket(container.id)  # made before anything else, so that a start cut short shows
        desk = self._paths.terminal_socket(container.id, first_session(container))
        left = [self._paths.request(container.id), desk]
        left.append(Path(ending.asked_path(str(record))))  # it may have come after the end
        if not keep_health:
            left.append(self._paths.health_record(container.id))
        if record.exists() or door.exists():
            manager.clear(manager.group(self._instance, container.id))
            manager.clear_engine(self._instance, str(self._paths.groups_lock))
            left += [record, door]  # last: by these it is found again
        for path in left:
            _unlink(path)

    @staticmethod
    def _just_ending(container: Container) -> Busy:
        return Busy(
            f"container {container.name!r} is just ending", hint="try again in a moment", subject=container.name
        )

    def restart(
        self, container: Container, image: Image, timeout_s: float | None, caller: Caller, patience: Patience | None
    ) -> None:
        """Stop it as `Stopping.stop` does, then start it: the same id, files and log. Else it is a start."""
        state.require("restart", container.state, container.name)
        self._stopping.stop(container, timeout_s, caller, patience)
        self.start(self._records.find(container.id), image)
        self._events.publish("container", "restart", container.id, container.name)

    def remove(self, container: Container, caller: Caller, *, force: bool) -> None:
        """Remove it with its writable layer and log, whose space is free soon after. Volumes stay."""
        if force and container.state not in (State.CREATED, State.BROKEN):
            self._stopping.stop(container, 0, caller)
            container = self._records.find(container.id)
        state.require("remove", container.state, container.name)
        with self._records.locked(container) as (container, _), roots.locked(self._paths, container):
            state.require("remove", container.state, container.name)
            if container.exit is None or self._records.shim(container.id) is None:
                self._clear(container)
            else:  # its shim has only the file system to give up, of which nothing is wanted any more
                _unlink(self._paths.health_record(container.id))
            directory = self._paths.container(container.id)
            with self._database.transaction(durable=True) as connection:
                connection.execute("DELETE FROM containers WHERE id = ?", (container.id,))
                self._events.add(connection, "container", "remove", container.id, container.name)
                atomic.intend(directory, self._paths.trash)
            try:
                grave = atomic.bury(directory, self._paths.trash)
                atomic.agree(directory, self._paths.trash)
            except OSError as error:
                raise KernelError.from_os(
                    error, "deleting its files", hint="this is tried again at the next start of the console"
                ) from error
        self._events.wake()
        self._trash.delete(grave)  # at last: its thread would be in the way of this one


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.new").unlink(missing_ok=True)  # its writer was killed
