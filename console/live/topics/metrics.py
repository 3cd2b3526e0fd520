"""The points of one container's charts: the last hour first, then each as it is measured.

page: {"sub": "metrics", "id": …, "since": s}
server: {"topic": "metrics", "id": …, "now": s, "t": […], "cpu": […], …}

"since" is the time of the newest point that the page has: no point comes twice, and none is left out. Times are Unix
time in s; what is not known is null.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from console import points
from console.live.topic import ID, Page, Topic
from console.recorder import Tick


class Metrics(Topic):
    """One container at a time."""

    name = "metrics"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._task: asyncio.Task[None] | None = None

    async def subscribe(self, wish: dict[str, Any]) -> None:
        """Send on from where the page is."""
        if not ID.fullmatch(wish["id"]):
            raise ValueError(wish["id"])
        since_s = float(wish.get("since", 0))
        await self.unsubscribe()
        self._task = asyncio.create_task(self._follow(wish["id"], since_s))

    async def unsubscribe(self) -> None:
        """Send nothing."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, container_id: str, since_s: float) -> None:
        ticked = asyncio.Event()

        def hear(_tick: Tick) -> None:
            ticked.set()

        self.page.hub.ticks.add(hear)
        try:
            while True:
                ticked.clear()  # before reading: what is measured meanwhile wakes us again
                found = await asyncio.to_thread(points.of, container_id, since_s)
                since_s = found["t"][-1] if found["t"] else since_s
                await self.page.deliver(self.name, {"id": container_id, "now": time.time()} | found)
                await ticked.wait()
        finally:
            self.page.hub.ticks.discard(hear)
