"""The processes of one container: all of it is read once, however many pages look.

page: {"sub": "processes", "id": …}      server: {"topic": "processes", "id": …, "total": n, "rows": [[…], …]}

A row is [key, pid inside, pid, uid, command, CPU, memory, state, threads, start in ms]. CPU is in per cent of one core,
None at first; rows are sorted by its moving average. The key is what a signal is addressed to.
"""

from __future__ import annotations

import asyncio
from typing import Any

from console import gateway
from console.live.source import Source
from console.live.topic import ID, Page, Topic
from console.usage import MOST, Usage, UsageRates
from engine import errors

PERIOD_S = 1.0


class Processes(Topic):
    """One container's at a time."""

    name = "processes"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._id = ""
        self._source: Source[list[Usage]] | None = None

    async def subscribe(self, wish: dict[str, Any]) -> None:
        """Watch this container, if this person may enter it; else there are none."""
        if not ID.fullmatch(wish["id"]):
            raise ValueError(wish["id"])
        await self.unsubscribe()
        self._id = wish["id"]
        try:
            watch = await asyncio.to_thread(
                gateway.engine().process_watch, self._id, caller=gateway.caller(self.page.user)
            )
        except errors.EngineError:
            self._tell([])
            return

        def sampler() -> Any:
            rates = UsageRates()
            return lambda: rates.update(watch.read())

        # Whoever comes second reads what the first one's watch does: both were asked for their right just now.
        self._source = self.page.hub.source(f"{self.name} {self._id}", sampler, PERIOD_S)
        self._source.watch(self._tell)

    async def unsubscribe(self) -> None:
        """Watch nothing."""
        if self._source is not None:
            self._source.leave(self._tell)
            self._source = None

    def _tell(self, usage: list[Usage]) -> None:
        self.page.put(self.name, {"id": self._id, "total": len(usage), "rows": [_wire(each) for each in usage[:MOST]]})


def _wire(usage: Usage) -> list[Any]:
    one = usage.process
    return [usage.key, one.pid_inside, one.pid, one.uid, usage.command, usage.cpu, one.memory_bytes, one.state,
            one.threads, one.started_at_ns // 1_000_000]  # fmt: skip
