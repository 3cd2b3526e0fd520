"""Pause a container and let it go on. Whether it is paused is asked of its control group, never remembered."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

from engine.cgroups import manager
from engine.cgroups.counters import GONE
from engine.containers import state
from engine.containers.records import Records
from engine.containers.spec import Container, State
from engine.errors import Busy, EngineError, KernelError, NotFound, WrongState
from engine.events import Events
from engine.linux import process
from engine.storage import journal
from engine.storage.paths import Paths

FREEZE_TIMEOUT_S = 10.0
STILL = "still"


class Pausing:
    """Pause and unpause."""

    def __init__(self, instance_id: str, paths: Paths, events: Events, records: Records) -> None:
        self._instance = instance_id
        self._paths = paths
        self._events = events
        self._records = records

    def pause(self, container: Container) -> None:
        """Freeze it; on return none of its processes runs.

        WrongState unless it runs; Busy, and it runs on, when a process cannot be frozen.
        """
        with self._records.locked(container) as (container, _):
            state.require("pause", container.state, container.name)
            group = manager.group(self._instance, container.id)
            try:
                group.freeze(FREEZE_TIMEOUT_S)
                # A v1 freezer keeps even from dying who was just killed; and killers thaw what is frozen by then.
                if container.pid is not None and process.signal_pending(container.pid, signal.SIGKILL):
                    group.thaw()
                    raise ended(container, "pause")
            except TimeoutError as error:
                raise Busy(
                    f"container {container.name!r} cannot be paused: a process of it is stuck in the kernel",
                    hint="it runs on; try again when its device or file system answers",
                    subject=container.name,
                ) from error
            except OSError as error:
                raise _failed(container, error, "pause") from error
        self._events.publish("container", "pause", container.id, container.name)

    def unpause(self, container: Container) -> None:
        """Let it go on. WrongState unless it is paused."""
        with self._records.locked(container) as (container, _):
            state.require("unpause", container.state, container.name)
            try:
                manager.group(self._instance, container.id).thaw()
            except OSError as error:
                raise _failed(container, error, "unpause") from error
        self._events.publish("container", "unpause", container.id, container.name)

    def thaw(self, container: Container) -> None:
        """Let it go on if it is paused, so that it can act on a signal that it was sent; fine when it has ended."""
        group = manager.group(self._instance, container.id)
        if not group.frozen():
            return
        try:
            group.thaw()
        except OSError as error:
            if error.errno not in GONE:
                raise KernelError.from_os(error, "thawing it") from error
        self._events.publish("container", "unpause", container.id, container.name)

    @contextlib.contextmanager
    def still(self, container: Container) -> Iterator[None]:
        """Inside, nothing of it runs. One that ended, or was paused or unpaused by somebody meanwhile, stays so."""
        if container.state is not State.RUNNING:
            yield
            return
        with journal.journal(self._paths.tmp, STILL) as note:
            note(paused=container.id)
            paused = False
            with contextlib.suppress(WrongState):
                self.pause(container)
                paused = True
            try:
                yield
            finally:
                if paused:
                    with contextlib.suppress(WrongState):
                        self.unpause(self._records.find(container.id))

    def tidy(self) -> None:
        """Let go on what `still` held when its process was killed; called once when the console starts."""
        for notes in journal.left(self._paths.tmp, STILL):
            for note in notes:
                try:
                    self.unpause(self._records.find(note["paused"]))
                except (WrongState, NotFound):  # it has ended, or somebody let it go on
                    continue
                except EngineError as error:  # the others go on all the same
                    print(f"wharfie: letting a container go on: {error}", file=sys.stderr, flush=True)


def ended(container: Container, act: str) -> WrongState:
    """It ended between two looks."""
    return state.forbids(act, State.EXITED, container.name)


def _failed(container: Container, error: OSError, act: str) -> WrongState | KernelError:
    return ended(container, act) if error.errno in GONE else KernelError.from_os(error, f"{act} {container.name!r}")
