"""What all containers use, read once a second by one reader for all pages of this process, and kept for an hour.

Its ticks are the only clock of figures: pages are told of each at once, so that none is older than it need be.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any, NamedTuple

from console import gateway, hostload
from console.live.numbers import Rates
from engine import Engine, Figure, History, errors

PERIOD_S = 1.0
LEAST_PAUSE_S = 0.1  # a reading that takes longer than its period must not fill the machine
COUNTED = 5  # of how many containers all counters are read each time, in turn: they cost three times the few figures
TOLD_S = 5.0  # how late it may be told what nobody looks at: a shim remembers the last eight runs that it began itself
LOOKED_AT_S = 10.0  # so long all counters of one are read each time after somebody asked for its points

log = logging.getLogger(__name__)


class Tick(NamedTuple):
    """What everything used at one moment."""

    at_ms: int  # Unix time before the first counter was read: nothing in it is older
    of: dict[str, dict[str, Any]]  # each container that runs, by id
    host: dict[str, Any]  # empty while nobody watches


class Recorder:
    """Reads figures at most once a period, whoever asks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.history = History()
        self.latest: Tick | None = None
        self._lock = threading.Lock()
        self._rates = Rates()
        self._cpu = hostload.Cpu()
        self._taken_s = 0.0
        self._turn = 0
        self._looked_at: dict[str, float] = {}  # until when, by the monotonic clock
        self._listeners: tuple[Callable[[Tick], None], ...] = ()

    def watch(self, listener: Callable[[Tick], None]) -> None:
        """Call it with each tick from now on, in the recorder's thread: it must not block."""
        with self._lock:
            self._listeners += (listener,)

    def leave(self, listener: Callable[[Tick], None]) -> None:
        """Call it no more."""
        with self._lock:
            self._listeners = tuple(each for each in self._listeners if each != listener)

    def look(self, container_id: str) -> None:
        """Somebody looks at this one."""
        with self._lock:
            self._looked_at[container_id] = time.monotonic() + LOOKED_AT_S

    def take(self) -> dict[str, dict[str, Any]]:
        """The figures of each container that runs, hardly older than a period."""
        with self._lock:
            if self.latest is None or time.monotonic() - self._taken_s >= PERIOD_S * 1.5:  # nobody ticks
                self.latest = self._read()
            return self.latest.of

    def tick(self) -> None:
        """Read, and tell everybody who watches."""
        with self._lock:
            tick = self.latest = self._read()
            listeners = self._listeners
        for listener in listeners:
            listener(tick)

    def _read(self) -> Tick:
        at_ms, self._taken_s = time.time_ns() // 1_000_000, time.monotonic()
        host = hostload.figures() | {"cpu": self._cpu.look()} if self._listeners else {}
        figures = self._rates.update(self.engine.sample())
        self.history.add(
            {cid: Figure(each["cpu"], each["mem"], each["pids"]) for cid, each in figures.items()},
            self.engine.counters_of(self._next(list(figures))),
        )
        return Tick(at_ms, figures, host)

    def _next(self, ids: list[str]) -> list[str]:
        self._looked_at = {each: until for each, until in self._looked_at.items() if until > time.monotonic()}
        if len(ids) <= COUNTED:
            return ids
        self._turn %= len(ids)
        chosen = set(islice(cycle(ids), self._turn, self._turn + COUNTED))
        self._turn += COUNTED
        return list(chosen | self._looked_at.keys() & set(ids))

    def run(self) -> None:
        """Tick on and on, and have written down what has ended or begun by itself; never returns."""
        due = told = time.monotonic()
        while True:
            try:
                self.tick()
                if time.monotonic() >= told:
                    self.engine.last_event()
                    told = time.monotonic() + TOLD_S
            except errors.EngineError as error:
                # Pages are told nothing, and say by themselves that their figures grow old.
                log.warning("recording: %s", error)
            due = max(due + PERIOD_S, time.monotonic() + LEAST_PAUSE_S)
            time.sleep(due - time.monotonic())


_recorder: Recorder | None = None
_lock = threading.Lock()


def recorder() -> Recorder:
    """That of this process's engine."""
    global _recorder
    engine = gateway.engine()
    with _lock:
        if _recorder is None or _recorder.engine is not engine:
            _recorder = Recorder(engine)
        return _recorder
