"""Something that is read again and again for as long as anybody watches: once, however many do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from engine import errors

log = logging.getLogger(__name__)

Snapshot = TypeVar("Snapshot")
LEAST_PAUSE_S = 0.2  # a read that takes longer than its period must not fill the machine


class Source(Generic[Snapshot]):
    """``make()`` gives what reads one snapshot; it is made anew when watching begins, and called in a thread."""

    def __init__(self, make: Callable[[], Callable[[], Snapshot]], period_s: float) -> None:
        self._make = make
        self._period_s = period_s
        self._listeners: set[Callable[[Snapshot], None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._latest: Snapshot | None = None

    @property
    def watched(self) -> bool:
        """Whether anybody does."""
        return bool(self._listeners)

    def watch(self, listener: Callable[[Snapshot], None]) -> None:
        """Call it with each snapshot, and with the last one at once; again is the same as once."""
        self._listeners.add(listener)
        if self._task is None or self._task.done():
            self._latest = None
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif self._latest is not None:
            listener(self._latest)

    def leave(self, listener: Callable[[Snapshot], None]) -> None:
        """Call it no more."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """End at once."""
        self._listeners.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        read = self._make()
        while self._listeners:
            began = loop.time()
            try:
                self._latest = await asyncio.to_thread(read)
            except errors.EngineError as error:
                # Pages are told nothing, and show by themselves that their figures grow old.
                log.warning("reading: %s", error)
            else:
                for listener in list(self._listeners):
                    listener(self._latest)
            await asyncio.sleep(max(LEAST_PAUSE_S, self._period_s - (loop.time() - began)))
