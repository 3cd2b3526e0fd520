"""Wait until something has happened to a container."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from engine.containers import shims
from engine.containers.endings import exit_from_event
from engine.containers.records import Records
from engine.containers.spec import Container, ExitRecord, State, WaitFor
from engine.errors import NotFound, Unavailable, WrongState
from engine.events import Events
from engine.linux import files
from engine.storage.paths import Paths

T = TypeVar("T")
TAKEOVER_S = 0.01  # between two looks
UNANNOUNCED_S = 1.0  # between two looks: the end of a container whose shim was killed wakes nobody


class Waiting:
    """Wait, on one of three conditions."""

    def __init__(self, paths: Paths, events: Events, records: Records) -> None:
        self._paths = paths
        self._events = events
        self._records = records

    def until(self, container: Container, condition: WaitFor, timeout_s: float | None) -> ExitRecord | None:
        """Wait for a condition. The exit that it is about; None when one that never ran was removed.

        Unavailable after ``timeout_s`` (None: never); WrongState when a container that never started is waited for
        to end; NotFound when it is removed before its next exit.
        """
        if condition is WaitFor.NOT_RUNNING:
            return self.not_running(container, timeout_s)
        if condition is WaitFor.NEXT_EXIT:
            return self._next_exit(container, timeout_s)
        return self._removed(container, timeout_s)

    def not_running(self, container: Container, timeout_s: float | None) -> ExitRecord:
        """Wait until it has ended. WrongState when it never started, Unavailable after ``timeout_s``."""
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        found = container
        while found.exit is None or found.state.alive:
            if found.state is State.CREATED:
                raise WrongState(
                    f"container {container.name!r} was never started", hint="start it first", subject=container.name
                )
            if found.broken:
                raise WrongState(
                    f"container {container.name!r} is broken: {found.broken}", hint="remove it", subject=container.name
                )
            if time.monotonic() >= deadline:
                raise _not_yet(container, "ended", "wait longer, or stop it")
            shims.ask(self._paths, container.id, {"op": "wait"}, _left(deadline))
            found = self._records.find(container.id)
            # No answer: first its init has to end, then a killed shim, which may be busy giving up the file system.
            for pid in (found.pid, self._records.shim(container.id)):
                if (found.exit is None or found.state.alive) and pid is not None:
                    shims.wait_for_pid(pid, _left(deadline))
                    found = self._records.find(container.id)
            if found.exit is None or found.state.alive:
                time.sleep(TAKEOVER_S)  # its shim was killed, and it is being given a new one
        return found.exit

    def _next_exit(self, container: Container, timeout_s: float | None) -> ExitRecord:
        """By its events: a look at its state would miss a run that came and went between two looks."""
        ends = self._ends(container, self._events.last())

        def look() -> ExitRecord | None:
            self._records.find(container.id)  # takes its shim's exit record in, and so makes the event
            return next(ends, None)

        found = self._watch(look, timeout_s)
        if found is None:
            raise _not_yet(container, "ended", "wait longer, or stop it")
        return found

    def _removed(self, container: Container, timeout_s: float | None) -> ExitRecord | None:
        ends = self._ends(container, self._events.last())

        def look() -> bool:
            try:
                self._records.find(container.id)
            except NotFound:
                return True
            return False

        if not self._watch(look, timeout_s):
            raise _not_yet(container, "been removed", "wait longer, or remove it")
        last = container.exit
        while (end := next(ends, None)) is not None:
            last = end
        return last

    def _ends(self, container: Container, seen: int) -> Iterator[ExitRecord | None]:
        """Its ends after an event, each once; None as often as there is no other yet."""
        while True:
            events = self._events.after(seen)
            for event in events:
                seen = event.seq
                if (event.action, event.object_id) == ("die", container.id):
                    yield exit_from_event(event)
            if not events:
                yield None

    def _watch(self, look: Callable[[], T], timeout_s: float | None) -> T:
        """Look until there is something, or the time is over."""
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        subscription = self._events.subscribe()
        try:
            while not (found := look()) and (left := deadline - time.monotonic()) > 0:
                files.readable([subscription.fileno()], min(left, UNANNOUNCED_S))
                subscription.drain()
            return found
        finally:
            subscription.close()


def _left(deadline: float) -> float | None:
    """Seconds until then; None: any number."""
    return None if deadline == math.inf else max(0.001, deadline - time.monotonic())


def _not_yet(container: Container, what: str, hint: str) -> Unavailable:
    return Unavailable(f"container {container.name!r} has not {what}", hint=hint, subject=container.name)
