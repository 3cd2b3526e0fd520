"""Something changed: the page fetches again what it shows.

page: {"sub": "containers", "since": n}      server: {"topic": "containers", "seq": m}
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from console import gateway
from console.live.topic import Page, Topic

# Between two fetches of one page: it learns of the first change at once, and of changes that go on, as when something
# restarts in a loop, ever more seldom. Many pages that hear of the same do not fetch at the same moment.
LEAST_S, MOST_S = 1.0, 5.0
SPREAD = 0.2


class Containers(Topic):
    """Tells how far the engine's events are. ``since`` is what the page heard last: no news, no fetch."""

    name = "containers"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._loop = asyncio.get_running_loop()
        self._pause_s = LEAST_S
        self._told_s = float("-inf")
        self._news = 0
        self._timer: asyncio.TimerHandle | None = None

    async def subscribe(self, wish: dict[str, Any]) -> None:
        """Listen, and tell at once what was missed. A page that names nothing may have missed something."""
        since = int(wish.get("since", -1))
        self.page.hub.news.add(self._hear)
        last = await asyncio.to_thread(gateway.engine().last_event)
        if last != since:
            self.page.put(self.name, {"seq": last})

    async def unsubscribe(self) -> None:
        """Stop listening."""
        self.page.hub.news.discard(self._hear)
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _hear(self, seq: int) -> None:
        self._news = seq
        if self._timer:
            return
        quiet_s = self._loop.time() - self._told_s
        self._pause_s = LEAST_S if quiet_s > 2 * self._pause_s else min(MOST_S, 2 * self._pause_s)
        pause_s = self._pause_s * random.uniform(1 - SPREAD, 1 + SPREAD)
        self._timer = self._loop.call_later(max(0.0, pause_s - quiet_s), self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._told_s = self._loop.time()
        self.page.put(self.name, {"seq": self._news})
