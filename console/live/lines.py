"""Log lines on their way to a browser: cleaned, batched, and skipped in the middle when they come too fast."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from console.text import clean

if TYPE_CHECKING:
    from engine import LogLine, LogTail

FRAME = 1000  # lines in one frame
BEHIND = 5000  # more than this waiting: skip the middle


def wire(line: LogLine) -> list[Any]:
    """A line as [milliseconds, "e" or "o", text]."""
    return [line.time_ns // 1_000_000, "e" if line.stream == "stderr" else "o", clean(line.text)]


class Backlog:
    """Lines read but not yet sent. Bounded: what a slow browser cannot take is counted, not kept."""

    def __init__(self, tail: LogTail) -> None:
        self._tail = tail
        self._waiting: deque[LogLine] = deque()
        self._skipped = 0

    def fill(self) -> None:
        """Read what is new, up to a bound: a container that logs without end must not hold this thread."""
        for _round in range(50):
            new = self._tail.read(FRAME)
            self._waiting.extend(new)
            if len(self._waiting) > BEHIND:
                while len(self._waiting) > FRAME:
                    self._skipped += 1 + self._waiting.popleft().lost
            if len(new) < FRAME:
                return

    def take(self) -> tuple[list[list[Any]], int]:
        """The next frame's lines, and how many are missing before them."""
        gap, self._skipped = self._skipped, 0
        batch: list[list[Any]] = []
        while self._waiting and len(batch) < FRAME:
            if self._waiting[0].lost and batch:
                break  # the gap goes before its line: next frame
            line = self._waiting.popleft()
            gap += line.lost
            batch.append(wire(line))
        return batch, gap

    @property
    def empty(self) -> bool:
        """Whether everything read was taken."""
        return not self._waiting

    @property
    def waits(self) -> bool:
        """Whether only a change of the log brings more."""
        return self.empty and self._tail.waits

    @property
    def finished(self) -> bool:
        """Whether the container ended and nothing is left."""
        return self.empty and self._tail.finished

    def close(self) -> None:
        """Let go of the log."""
        self._tail.close()
