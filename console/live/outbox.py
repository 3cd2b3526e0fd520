"""What waits for one page: at most four messages a second, and no more than the page has said it can take.

A message is {"seq": n, "frames": […]}; the page answers {"ack": n} when it has drawn it. A page that does not is sent
nothing further: of snapshots the latest waits, one a topic, and who delivers waits before reading on. So what one page
costs has a bound, however slow it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


class Outbox:
    """The frames of one page."""

    PERIOD_S = 0.25
    AHEAD = 3  # messages sent but not drawn yet

    def __init__(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._send = send
        self._snapshots: dict[str, dict[str, Any]] = {}
        self._parcels: list[tuple[dict[str, Any], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._sequence = self._drawn = 0

    def put(self, topic: str, frame: dict[str, Any]) -> None:
        """Replace what waits of that topic."""
        self._snapshots[topic] = {"topic": topic} | frame
        self._wake.set()

    async def deliver(self, topic: str, frame: dict[str, Any]) -> None:
        """Wait until it is sent."""
        sent = asyncio.get_running_loop().create_future()
        parcel = ({"topic": topic} | frame, sent)
        self._parcels.append(parcel)
        self._wake.set()
        try:
            await sent
        finally:
            if parcel in self._parcels:  # given up before it was sent
                self._parcels.remove(parcel)

    def forget(self, topic: str) -> None:
        """Drop a snapshot that is no longer wanted."""
        self._snapshots.pop(topic, None)

    def acknowledge(self, sequence: int) -> None:
        """The page has drawn this message, and all before it."""
        self._drawn = max(self._drawn, min(sequence, self._sequence))
        self._wake.set()

    async def run(self) -> None:
        """Send, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._sequence - self._drawn >= self.AHEAD or not (self._snapshots or self._parcels):
                continue
            frames = [*self._snapshots.values(), *(frame for frame, _sent in self._parcels)]
            parcels, self._parcels = self._parcels, []
            self._snapshots.clear()
            self._sequence += 1
            await self._send({"seq": self._sequence, "frames": frames})
            for _frame, sent in parcels:
                if not sent.done():
                    sent.set_result(None)
            await asyncio.sleep(self.PERIOD_S)
            self._wake.set()
