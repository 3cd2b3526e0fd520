"""What a topic is. To add one:

1. ``console/live/topics/<name>.py``: a class below `Topic` with a ``name``, and its `subscribe` and `unsubscribe`:

       class Jobs(Topic):
           name = "jobs"

           async def subscribe(self, wish):          # the page's {"sub": "jobs", …}, also a second time
               await self.unsubscribe()
               self._source = self.page.hub.source("jobs", read_jobs, period_s=1.0)
               self._source.watch(self._tell)        # read in a thread, once a second, however many pages watch

           async def unsubscribe(self):              # the page goes, or hides; may be called again
               if self._source:
                   self._source.leave(self._tell)
                   self._source = None

           def _tell(self, jobs):                    # on the event loop: must not block
               self.page.put(self.name, {"of": choose(jobs, self.page.user)})

2. A line in `console.live.topics.TOPICS`.
3. In the page's module: ``import { topic } from "./live.js"``, then
   ``topic("jobs", { wish: () => ({ids: …}), receive: (frame) => …, lost: () => … })``.

`Page.put` is for whole snapshots: the latest wins, one waits for each topic. `Page.deliver` is for what must come in
order and whole: it returns once the frame was sent, which is when the page can take it; read on only then.
A ``ValueError``, ``TypeError`` or ``KeyError`` from `subscribe` ends the connection: the wish makes no sense. What the
page may see is decided there with ``self.page.user``, who was just looked up anew.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Protocol

from django.contrib.auth.models import AbstractUser

from console.live.hub import Hub

ID = re.compile(r"[0-9a-f]{64}")


class Page(Protocol):
    """The socket of one open tab, as its topics see it."""

    hub: Hub
    user: AbstractUser

    def put(self, topic: str, frame: dict[str, Any]) -> None:
        """Send a snapshot as soon as the page takes one; a later one of the topic replaces it."""

    async def deliver(self, topic: str, frame: dict[str, Any]) -> None:
        """Send a frame in order; returns when it is on its way."""


class Topic:
    """One thing that one page watches. Made with its first subscription, kept until the page goes."""

    name: ClassVar[str]

    def __init__(self, page: Page) -> None:
        self.page = page

    async def subscribe(self, wish: dict[str, Any]) -> None:
        """Begin, or begin again with another wish."""
        raise NotImplementedError

    async def unsubscribe(self) -> None:
        """Let go of everything; nothing happens when there is nothing."""
        raise NotImplementedError
