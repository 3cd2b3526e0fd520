"""Signals to a container: kill and stop."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable

from engine import names, policy
from engine.containers import shims, state
from engine.containers.pausing import Pausing
from engine.containers.records import Records
from engine.containers.restarting import Restarting
from engine.containers.spec import Container, State
from engine.containers.waiting import Waiting
from engine.errors import Busy, Unavailable, WrongState
from engine.events import Events
from engine.linux import pidfds
from engine.security.spec import Caller
from engine.shim import ending
from engine.storage.paths import Paths

AFTER_KILL_S = 10.0
ANSWER_S = 5.0
ASKED_S = 1.0  # between two looks whether anybody still wants to wait

Patience = Callable[[], object]


class Stopping:
    """Kill and stop, of a paused container too: the signal first, then it is thawed to receive it. That order lets
    one that is killed run no instruction more."""

    def __init__(
        self, paths: Paths, events: Events, records: Records, pausing: Pausing, waiting: Waiting,
        restarting: Restarting,
    ) -> None:  # fmt: skip
        self._events = events
        self._restarting = restarting
        self._paths = paths
        self._records = records
        self._pausing = pausing
        self._waiting = waiting

    def signal(self, container: Container, number: int, caller: Caller) -> None:
        """Send a signal to its first process. One that is meant to end it ends its restart policy too."""
        state.require("kill", container.state, container.name)
        self._events.publish("container", "kill", container.id, container.name, signal=number, by=caller.name)
        if number in (signal.SIGKILL, names.signal_number(container.spec.stop_signal or "TERM")):
            self._restarting.forget(container)
        answer = shims.ask(self._paths, container.id, {"op": "signal", "signal": number}, ANSWER_S)
        if answer is None:
            record = self._records.running(container.id)
            if record is not None:  # no shim answers: the kernel still does
                ending.note_asked(str(self._paths.run_record(container.id)), record["started_at_ns"], number)
                pidfds.kill(record["pid"], record["start_time"], number)
        self._pausing.thaw(container)

    def stop(
        self, container: Container, timeout_s: float | None, caller: Caller, patience: Patience | None = None
    ) -> None:
        """Ask with its stop signal, wait, then kill; -1 waits for ever. Nothing to do when it does not run.

        ``patience`` is called again and again while it waits; what it raises ends that. InvalidRequest for a timeout
        that is none; Busy when a process of it does not die.
        """
        state.require("stop", container.state, container.name)
        patience_s = policy.stop_timeout(container.spec.stop_timeout_s if timeout_s is None else timeout_s, "timeout")
        self._restarting.forget(container)
        container = self._stay_ended(container)
        if not container.state.alive:
            return
        try:
            if patience_s != 0:
                self.signal(container, names.signal_number(container.spec.stop_signal or "TERM"), caller)
                if self._ended(container, None if patience_s < 0 else patience_s, patience):
                    return
            self.signal(self._records.find(container.id), signal.SIGKILL, caller)
        except WrongState:  # it ended between two looks, which was the wish; but its policy may not know that yet
            if self._stay_ended(self._records.find(container.id)).pid is None:
                return
            with contextlib.suppress(WrongState):
                self.signal(self._records.find(container.id), signal.SIGKILL, caller)
        if not self._ended(container, AFTER_KILL_S):
            raise Busy(
                f"container {container.name!r} does not die: a process of it is stuck in the kernel",
                hint="it ends when its device or file system answers",
                subject=container.name,
            )

    def _stay_ended(self, container: Container) -> Container:
        """One that waits to be started again, or has just ended and may be about to, does neither from now on."""
        if container.state is State.RESTARTING or (container.state is State.EXITED and container.exit is None):
            shims.ask(self._paths, container.id, {"op": "rest"}, ANSWER_S)
            container = self._records.find(container.id)
            if container.pid is None:  # else it was just being started, and is stopped as what runs
                self._ended(container, AFTER_KILL_S)
                container = self._records.find(container.id)
        return container

    def _ended(self, container: Container, timeout_s: float | None, patience: Patience | None = None) -> bool:
        until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while patience is not None and until_s - time.monotonic() > ASKED_S:
            if self._ended(container, ASKED_S):
                return True
            patience()
        try:
            self._waiting.not_running(container, None if until_s == math.inf else until_s - time.monotonic())
        except Unavailable:
            return False
        return True
