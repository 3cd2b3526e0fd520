"""How often an open page is told that something changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from console.live.topics import containers
from console.live.topics.containers import Containers


class Page:
    """Hears of another change as soon as it was told of one, as of a container that restarts in a loop."""

    def __init__(self, until: int) -> None:
        self.topic = Containers(self)  # type: ignore[arg-type]
        self.times: list[float] = []
        self.last = 0
        self.done = asyncio.Event()
        self._until = until

    def put(self, topic: str, frame: dict[str, Any]) -> None:
        self.times.append(asyncio.get_running_loop().time())
        self.last = frame["seq"]
        if len(self.times) == self._until:
            self.done.set()
        else:
            for more in (1, 2, 3):
                self.topic._hear(self.last + more)


async def test_changes_that_go_on_are_told_ever_more_seldom_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "LEAST_S", 0.05)
    monkeypatch.setattr(containers, "MOST_S", 0.2)
    monkeypatch.setattr(containers, "SPREAD", 0.0)
    page = Page(until=5)
    began = asyncio.get_running_loop().time()
    page.topic._hear(1)
    await asyncio.wait_for(page.done.wait(), 10)
    first, *gaps = [after - before for before, after in zip([began, *page.times], page.times, strict=False)]
    assert first < 0.05, "the first at once"
    assert [gap >= least for gap, least in zip(gaps, (0.1, 0.2, 0.2, 0.2), strict=True)] == [True] * 4
    assert page.last == 1 + 4 * 3, "what came meanwhile is told with the next"


async def test_many_pages_do_not_fetch_at_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "LEAST_S", 0.1)
    pages = [Page(until=2) for _ in range(20)]
    for page in pages:
        page.topic._hear(1)
    await asyncio.wait_for(asyncio.gather(*(page.done.wait() for page in pages)), 10)
    seconds = [page.times[1] for page in pages]
    assert max(seconds) - min(seconds) > 0.02
