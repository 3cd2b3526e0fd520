"""What all containers use, read once a second by one reader for all pages of this process, and kept for an hour."""

from __future__ import annotations

import logging
import threading
import time
from itertools import cycle, islice
from typing import Any

from console import gateway
from console.live.numbers import Rates
from engine import Engine, Figure, History, errors

PERIOD_S = 1.0
COUNTED = 5  # of how many containers all counters are read each time, in turn: they cost three times the few figures
LOOKED_AT_S = 10.0  # so long all counters of one are read each time after somebody asked for its points

log = logging.getLogger(__name__)


class Recorder:
    """Reads figures at most once a period, whoever asks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.history = History()
        self._lock = threading.Lock()
        self._rates = Rates()
        self._figures: dict[str, dict[str, Any]] = {}
        self._taken_s = 0.0
        self._turn = 0
        self._looked_at: dict[str, float] = {}  # until when, by the monotonic clock

    def look(self, container_id: str) -> None:
        """Somebody looks at this one."""
        with self._lock:
            self._looked_at[container_id] = time.monotonic() + LOOKED_AT_S

    def take(self) -> dict[str, dict[str, Any]]:
        """The figures of each container that runs, no older than a period."""
        with self._lock:
            if time.monotonic() - self._taken_s >= PERIOD_S * 0.9:
                self._taken_s = time.monotonic()
                self._figures = self._rates.update(self.engine.sample())
                self.history.add(
                    {cid: Figure(each["cpu"], each["mem"], each["pids"]) for cid, each in self._figures.items()},
                    self.engine.counters_of(self._next(list(self._figures))),
                )
            return self._figures

    def _next(self, ids: list[str]) -> list[str]:
        self._looked_at = {each: until for each, until in self._looked_at.items() if until > time.monotonic()}
        if len(ids) <= COUNTED:
            return ids
        self._turn %= len(ids)
        chosen = set(islice(cycle(ids), self._turn, self._turn + COUNTED))
        self._turn += COUNTED
        return list(chosen | self._looked_at.keys() & set(ids))

    def run(self) -> None:
        """Read on and on; never returns."""
        while True:
            began = time.monotonic()
            try:
                self.take()
            except errors.EngineError as error:
                log.warning("recording: %s", error)
            time.sleep(max(0.1, PERIOD_S - (time.monotonic() - began)))


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
