"""A container's log, its last lines first, then what comes.

page: {"sub": "logs", "id": …, "tail": 200}      server: {"topic": "logs", "id": …, "gap": n, "lines": […], "end": bool}
"""

from __future__ import annotations

import asyncio
from typing import Any

from console import gateway
from console.live.lines import Backlog
from console.live.topic import ID, Page, Topic
from engine import errors


class Logs(Topic):
    """One log at a time, at the page's pace."""

    name = "logs"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._task: asyncio.Task[None] | None = None

    async def subscribe(self, wish: dict[str, Any]) -> None:
        """Follow this log, and no other any more."""
        if not ID.fullmatch(wish["id"]):
            raise ValueError(wish["id"])
        tail = min(max(int(wish.get("tail", 200)), 0), 5000)
        await self.unsubscribe()
        self._task = asyncio.create_task(self._follow(wish["id"], tail))

    async def unsubscribe(self) -> None:
        """Follow nothing."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, container_id: str, tail: int) -> None:
        """Until the page goes: an ended container may be started again."""
        wake = asyncio.Event()
        told_end: bool | None = None
        try:
            backlog = Backlog(await asyncio.to_thread(gateway.engine().log_tail, container_id, tail=tail))
        except errors.EngineError as error:
            await self.page.deliver(self.name, {"id": container_id, "error": error.message, "hint": error.hint})
            return
        try:
            self.page.hub.follow(container_id, wake)
            while True:
                wake.clear()  # before reading: what comes in between wakes us again
                await asyncio.to_thread(backlog.fill)
                lines, gap = backlog.take()
                end = await asyncio.to_thread(lambda: backlog.finished)
                if lines or gap or end != told_end:
                    told_end = end
                    await self.page.deliver(self.name, {"id": container_id, "gap": gap, "lines": lines, "end": end})
                if await asyncio.to_thread(lambda: backlog.waits):
                    await wake.wait()
        finally:
            self.page.hub.unfollow(container_id, wake)
            await asyncio.shield(asyncio.to_thread(backlog.close))
