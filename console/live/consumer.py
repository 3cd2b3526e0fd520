"""The websocket of an open page. One for each tab, with the topics that the page asks for.

page: {"sub": "containers"}                          server: {"topic": "containers"}   something changed
page: {"sub": "stats", "ids": [...], "host": true}   server: {"topic": "stats", "of": {id: …}, "host": {…}}
page: {"sub": "logs", "id": …, "tail": 200}          server: {"topic": "logs", "id": …, "seq": n, "gap": n,
                                                              "lines": […], "end": bool}
page: {"ack": n}                                     it has drawn log frame n
page: {"unsub": "logs" | "stats" | "containers"}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Coroutine
from typing import Any

from autobahn.exception import Disconnected

from console import gateway
from console.door import SignedInConsumer
from console.live.hub import Hub, hub
from console.live.lines import Backlog
from engine import errors

log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{64}")


class LiveConsumer(SignedInConsumer):
    """Speaks the topics above with one page."""

    FRAME_S = 0.25  # at most four log frames a second
    AHEAD = 3  # log frames sent but not drawn yet: a slow page is waited for
    MOST_IDS = 1000

    watches_containers = False
    watches_host = False
    _hub: Hub | None = None

    async def admitted(self) -> None:
        """Join what all pages share."""
        self.stats_ids: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._acked = asyncio.Condition()
        self._drawn = 0
        self._hub = hub()
        try:
            await self._hub.join(self)
        except errors.EngineError:
            self._hub = None
            await self.close(code=self.BROKEN)
            return
        await self.accept()

    async def left(self) -> None:
        """Let go of everything that this page watched."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._hub:
            await self._hub.leave(self)
            self._hub = None

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """One message of the page; what makes no sense ends the connection."""
        try:
            message = json.loads(text_data or "")
            await self._obey(message)
        except (ValueError, TypeError, KeyError, AttributeError):
            await self.close(code=self.MALFORMED)

    async def push(self, frame: dict[str, Any]) -> None:
        """Send one frame."""
        with contextlib.suppress(Disconnected):  # the browser went first; `disconnect` is on its way
            await self.send(text_data=json.dumps(frame, ensure_ascii=False, separators=(",", ":")))

    async def _obey(self, message: dict[str, Any]) -> None:
        if self._hub is None:
            return
        if "ack" in message:
            async with self._acked:
                self._drawn = max(self._drawn, int(message["ack"]))
                self._acked.notify_all()
            return
        match message.get("sub"), message.get("unsub"):
            case "containers", None:
                self.watches_containers = True
                # What happened between the page's making and this message, nobody has told it.
                await self.push({"topic": "containers"})
            case "stats", None:
                self.stats_ids = [i for i in message.get("ids", [])[: self.MOST_IDS] if _ID.fullmatch(i)]
                self.watches_host = bool(message.get("host"))
                self._hub.want_numbers()
            case "logs", None:
                if not _ID.fullmatch(message["id"]):
                    raise ValueError(message["id"])
                await self._end_log()
                tail = min(max(int(message.get("tail", 200)), 0), 5000)
                self._begin("logs", self._follow(message["id"], tail))
            case None, "containers":
                self.watches_containers = False
            case None, "stats":
                self.stats_ids, self.watches_host = [], False
            case None, "logs":
                await self._end_log()
            case _:
                raise ValueError("unknown topic")

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks[name] = asyncio.create_task(work)
        task.add_done_callback(_report)

    async def _end_log(self) -> None:
        task = self._tasks.pop("logs", None)
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, container_id: str, tail: int) -> None:
        """Send a container's log, its last lines first, until the page goes: it may be started again."""
        assert self._hub is not None
        wake = asyncio.Event()
        sequence = self._drawn = 0
        told_end = False
        try:
            backlog = Backlog(await asyncio.to_thread(gateway.engine().log_tail, container_id, tail=tail))
        except errors.EngineError as error:
            await self.push({"topic": "logs", "id": container_id, "error": error.message, "hint": error.hint})
            return
        try:
            self._hub.follow(container_id, wake)
            while True:
                wake.clear()  # before reading: what comes in between wakes us again
                await asyncio.to_thread(backlog.fill)
                lines, gap = backlog.take()
                end = await asyncio.to_thread(lambda: backlog.finished)
                if lines or gap or end != told_end or not sequence:
                    told_end = end
                    sequence += 1
                    frame = {"topic": "logs", "id": container_id, "seq": sequence, "gap": gap}
                    frame |= {"lines": lines, "end": end}
                    await self.push(frame)
                    await self._until_drawn(sequence - self.AHEAD + 1)
                    await asyncio.sleep(self.FRAME_S)
                if await asyncio.to_thread(lambda: backlog.waits):
                    await wake.wait()
        finally:
            self._hub.unfollow(container_id, wake)
            await asyncio.shield(asyncio.to_thread(backlog.close))

    async def _until_drawn(self, sequence: int) -> None:
        async with self._acked:
            await self._acked.wait_for(lambda: self._drawn >= sequence)


def _report(task: asyncio.Task[None]) -> None:
    """A topic that broke must say so: nobody awaits its task."""
    if not task.cancelled() and (error := task.exception()):
        log.error("a live topic broke", exc_info=error)
