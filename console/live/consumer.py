"""The websocket of an open page. One for each tab, with the topics that the page asks for.

page: {"sub": topic, …}      server: {"seq": n, "frames": [{"topic": topic, …}, …]}
page: {"ack": n}             it has drawn message n
page: {"unsub": topic}       the tab is hidden, or shows something else

What a topic wants and tells stands in its module: `console.live.topics`. How to add one: `console.live.topic`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

from autobahn.exception import Disconnected

from console.door import SignedInConsumer
from console.live.hub import Hub, hub
from console.live.outbox import Outbox
from console.live.topic import Topic
from console.live.topics import TOPICS
from engine import errors

log = logging.getLogger(__name__)


class LiveConsumer(SignedInConsumer):
    """Speaks the topics with one page."""

    MOST_BYTES = 2**17  # of one message of the page; a thousand ids are 67,000

    hub: Hub
    _joined = False

    async def admitted(self) -> None:
        """Join what all pages share."""
        self.hub = hub()
        try:
            await self.hub.join(self)
        except errors.EngineError:
            await self.close(code=self.BROKEN)
            return
        self._joined = True
        self._topics: dict[str, Topic] = {}
        self._outbox = Outbox(self._say)
        self._sender = asyncio.create_task(self._outbox.run())
        self._sender.add_done_callback(self._broke)
        await self.accept()

    async def left(self) -> None:
        """Let go of everything that this page watched."""
        if not self._joined:
            return
        self._joined = False
        self._sender.cancel()
        ends = (self._sender, *(topic.unsubscribe() for topic in self._topics.values()))
        for error in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(error, Exception):  # the others are let go of all the same
                log.error("leaving a live page", exc_info=error)
        await self.hub.leave(self)

    async def heard(self, text: str | None, data: bytes | None) -> None:
        """One message of the page."""
        if len(text or "") > self.MOST_BYTES:
            raise ValueError("too long")
        message = json.loads(text or "")
        if self._joined:
            await self._obey(message)

    def put(self, topic: str, frame: dict[str, Any]) -> None:
        """Send a snapshot; see `console.live.topic.Page`."""
        self._outbox.put(topic, frame)

    async def deliver(self, topic: str, frame: dict[str, Any]) -> None:
        """Send a frame in order; see `console.live.topic.Page`."""
        await self._outbox.deliver(topic, frame)

    async def _obey(self, message: dict[str, Any]) -> None:
        if "ack" in message:
            self._outbox.acknowledge(int(message["ack"]))
        elif "unsub" in message:
            name = message["unsub"]
            if TOPICS[name].name in self._topics:
                await self._topics[name].unsubscribe()
                self._outbox.forget(name)
        else:
            name = message["sub"]
            kind = TOPICS[name]
            if not await self.look():
                return
            if name not in self._topics:
                self._topics[name] = kind(self)
            await self._topics[name].subscribe(message)

    async def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(Disconnected):  # the browser went first; `disconnect` is on its way
            await self.send(text_data=json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    def _broke(self, sender: asyncio.Task[None]) -> None:
        """Nobody awaits it. The page must not wait for what will not come: it connects again."""
        if not sender.cancelled() and (error := sender.exception()):
            log.error("a live page broke", exc_info=error)
            self._closing = asyncio.ensure_future(self.close(code=self.BROKEN))
