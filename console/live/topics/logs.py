"""A container's log as it grows.

page: {"sub": "logs", "id": …, "tail": 200}          its last lines first, then what comes
page: {"sub": "logs", "id": …, "after": place}       what came after a line that it has: nothing twice, nothing left out
      with what `console.loglines.wanted` knows: "q", "regex", "inverse", "stream"; and "nth", of this page's wishes
server: {"topic": "logs", "id": …, "nth": n, "rows": […], "last": place, "gap": n, "end": bool}

"nth" says which wish it answers: what was on its way when the page asked for something else is not for it any more.
"gap" lines are missing before these rows: skipped, as they came faster than anybody reads, or rotated away; -1 means
that nobody knows how many.
"""

from __future__ import annotations

import asyncio
from itertools import accumulate
from typing import Any

from console import gateway
from console.live.topic import ID, Page, Topic
from console.loglines import wanted, wire
from engine import LogPage, LogPages, LogPlace, LogRow, Wanted, errors

FRAME = 1000  # lines in one frame; a page shows some hundreds
FRAME_BYTES = 2**17  # of their text, or one line; colours make ten times that of it at worst
MOST_TAIL = 1000
BEHIND = 5000  # lines; when more wait, skip the middle
BEHIND_SEARCHING_BYTES = 2**26  # a search sees few of the lines: it is behind when it cannot read as fast
COUNTED_BYTES = 2**26  # a log of more is not counted from its beginning
LOOK_S = 0.25  # what one search may take of a turn


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
        tail = min(max(int(wish.get("tail", 200)), 0), MOST_TAIL)
        await self.unsubscribe()
        self._task = asyncio.create_task(self._follow(wish["id"], wish, tail))

    async def unsubscribe(self) -> None:
        """Follow nothing."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, container_id: str, wish: dict[str, Any], tail: int) -> None:
        """Until the page goes: an ended container may be started again."""
        wake = asyncio.Event()
        told_end: bool | None = None
        whose = {"id": container_id, "nth": wish.get("nth")}
        try:
            self.page.hub.follow(container_id, wake)
            after = LogPlace.parse(str(wish["after"])) if wish.get("after") else None
            chosen = await asyncio.to_thread(wanted, wish)
            reader = _Reader(await asyncio.to_thread(gateway.engine().log_pages, container_id), chosen, after, tail)
            while True:
                wake.clear()  # before reading: what comes in between wakes us again
                frames, end, again = await asyncio.to_thread(reader.turn)
                if end != told_end and not frames:
                    frames = [([], 0)]
                for rows, gap in frames:
                    told_end = end
                    frame = {"rows": rows, "last": str(reader.last), "gap": gap, "end": end}
                    await self.page.deliver(self.name, whose | frame)
                if not again:
                    await wake.wait()
        except errors.EngineError as error:
            await self.page.deliver(self.name, whose | {"error": gateway.sentences(error)})
        finally:
            self.page.hub.unfollow(container_id, wake)


class _Reader:
    """Where one page is in a log. Its methods block."""

    def __init__(self, pages: LogPages, chosen: Wanted, after: LogPlace | None, tail: int) -> None:
        self._pages = pages
        self._wanted = chosen
        self._tail = tail
        self._counted: int | None = None  # lines of the log before `last`
        self.last = after

    def turn(self) -> tuple[list[tuple[list[Any], int]], bool, bool]:
        """(rows, lines missing before them) of some frames, whether the log has ended, and whether there is more."""
        ended = self._pages.ended  # asked first: what comes after the question is read the next time
        if self.last is None:
            page = _newest(self._pages.before(None, self._tail, self._wanted, ended=ended))
            self.last = page.last
            self._count()
            return [(self._wired(page), 0)], ended, True
        page = _oldest(self._pages.after(self.last, FRAME, self._wanted, ended=ended, limit_s=LOOK_S))
        frames = []
        if page.rows or page.lost:
            gap = self._missing(page.rows[0].place if page.rows else page.last) if page.lost else 0
            frames.append((self._wired(page), gap))
        self.last = page.last
        if page.more and self._is_behind():
            self._count()
            newest = _newest(self._pages.before(None, FRAME, self._wanted, limit_s=LOOK_S))
            if newest.first > page.last:
                frames.append((self._wired(newest), self._missing(newest.first)))
                self.last = newest.last
        self._count()
        return frames, ended and not page.more, page.more or bool(frames)

    def _is_behind(self) -> bool:
        assert self.last is not None
        waiting_bytes = self._pages.bytes_after(self.last)
        if self._wanted.pattern:
            return waiting_bytes > BEHIND_SEARCHING_BYTES
        waiting = self._pages.lines_between(self.last, self._pages.end()) if waiting_bytes > BEHIND else 0
        return waiting is None or waiting > BEHIND

    def _wired(self, page: LogPage) -> list[Any]:
        return [wire(row, self._wanted.pattern) for row in page.rows]

    def _count(self) -> None:
        """Know how many lines came before, so that a gap can be told even when rotation has taken it."""
        if self.last is not None and (self._counted is not None or self._pages.bytes_after(_BEGINNING) < COUNTED_BYTES):
            self._counted = self._pages.lines_before(self.last)

    def _missing(self, first: LogPlace) -> int:
        """How many lines lie between those sent and this one."""
        number = self._pages.lines_before(first._replace(line=first.line - 1))
        return -1 if number is None or self._counted is None else max(0, number - self._counted)


def _oldest(page: LogPage) -> LogPage:
    """The first of its lines that fit into a frame."""
    count = _fitting(page.rows)
    return (
        page
        if count == len(page.rows)
        else page._replace(rows=page.rows[:count], last=page.rows[count - 1].place, more=True)
    )


def _newest(page: LogPage) -> LogPage:
    """The last of its lines that fit."""
    count = _fitting(page.rows[::-1])
    return (
        page
        if count == len(page.rows)
        else page._replace(rows=page.rows[-count:], first=page.rows[-count].place, more=True)
    )


def _fitting(rows: list[LogRow]) -> int:
    sizes = accumulate(len(row.text) for row in rows)
    return max(sum(1 for size in sizes if size <= FRAME_BYTES), min(1, len(rows)))


_BEGINNING = LogPlace(0, 0, -1)
