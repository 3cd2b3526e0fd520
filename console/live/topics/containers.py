"""Something changed: the page fetches again what it shows.

page: {"sub": "containers", "since": n}      server: {"topic": "containers", "seq": m}
"""

from __future__ import annotations

import asyncio
from typing import Any

from console import gateway
from console.live.topic import Topic


class Containers(Topic):
    """Tells how far the engine's events are. ``since`` is what the page heard last: no news, no fetch."""

    name = "containers"

    async def subscribe(self, wish: dict[str, Any]) -> None:
        """Listen, and tell at once what was missed. A page that names nothing may have missed something."""
        since = int(wish.get("since", -1))
        self.page.hub.news.add(self._tell)
        last = await asyncio.to_thread(gateway.engine().last_event)
        if last != since:
            self._tell(last)

    async def unsubscribe(self) -> None:
        """Stop listening."""
        self.page.hub.news.discard(self._tell)

    def _tell(self, seq: int) -> None:
        self.page.put(self.name, {"seq": seq})
