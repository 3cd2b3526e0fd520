"""What containers and the host use now.

page: {"sub": "stats", "ids": […], "host": true}      server: {"topic": "stats", "at": ms, "of": {id: …}, "host": {…}}

"at" is when it was measured, in Unix time: from it the page knows how old its figures are.
"""

from __future__ import annotations

from typing import Any

from console import recorder
from console.live.numbers import choose
from console.live.topic import ID, Page, Topic

MOST_IDS = 1000


class Stats(Topic):
    """Whole snapshots of the containers that the page shows now, as they are measured."""

    name = "stats"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._ids: list[str] = []
        self._host = False

    async def subscribe(self, wish: dict[str, Any]) -> None:
        """Take what the page shows now in the place of what it showed before."""
        self._ids = [each for each in wish.get("ids", [])[:MOST_IDS] if ID.fullmatch(each)]
        self._host = bool(wish.get("host"))
        if not (self._ids or self._host):
            return await self.unsubscribe()
        self.page.hub.ticks.add(self._tell)
        if latest := recorder.recorder().latest:
            self._tell(latest)

    async def unsubscribe(self) -> None:
        """Watch nothing."""
        self.page.hub.ticks.discard(self._tell)

    def _tell(self, tick: recorder.Tick) -> None:
        host = {"host": tick.host} if self._host and tick.host else {}
        self.page.put(self.name, {"at": tick.at_ms, "of": choose(tick.of, self._ids)} | host)
