"""What containers and the host use now.

page: {"sub": "stats", "ids": […], "host": true}      server: {"topic": "stats", "of": {id: …}, "host": {…}}
"""

from __future__ import annotations

from typing import Any

from console import recorder
from console.live.numbers import choose
from console.live.source import Source
from console.live.topic import ID, Page, Topic

MOST_IDS = 1000
PERIOD_S = 1.0

Numbers = tuple[dict[str, Any], dict[str, Any]]


class Stats(Topic):
    """Whole snapshots of the containers that the page shows now."""

    name = "stats"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._ids: list[str] = []
        self._host = False
        self._source: Source[Numbers] = page.hub.source(self.name, Sampler, PERIOD_S)

    async def subscribe(self, wish: dict[str, Any]) -> None:
        """Take what the page shows now in the place of what it showed before."""
        self._ids = [each for each in wish.get("ids", [])[:MOST_IDS] if ID.fullmatch(each)]
        self._host = bool(wish.get("host"))
        if self._ids or self._host:
            self._source.watch(self._tell)
        else:
            await self.unsubscribe()

    async def unsubscribe(self) -> None:
        """Watch nothing."""
        self._source.leave(self._tell)

    def _tell(self, numbers: Numbers) -> None:
        figures, host = numbers
        self.page.put(self.name, {"of": choose(figures, self._ids)} | ({"host": host} if self._host else {}))


class Sampler:
    """Reads everything once for all pages."""

    def __init__(self) -> None:
        import psutil  # loaded with the first watcher

        self._psutil = psutil

    def __call__(self) -> Numbers:
        """The figures of all running containers, and of the host."""
        memory = self._psutil.virtual_memory()
        host = {
            "cpu": round(self._psutil.cpu_percent() * (self._psutil.cpu_count() or 1) / 100, 2),
            "cpus": self._psutil.cpu_count() or 1,
            "mem": memory.total - memory.available,
            "limit": memory.total,
        }
        return recorder.recorder().take(), host
