"""Log lines on their way to a browser: cleaned, batched, and skipped in the middle when they come too fast."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine import LogLine, LogTail

FRAME = 1000  # lines in one frame
BEHIND = 5000  # more than this waiting: skip the middle
LONGEST = 8192  # characters of one line that are shown

# ESC sequences (ECMA-48 5.4 CSI, 5.6 control strings, two-byte escapes), then what is left of C0 and C1 but tab.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")
# Bidirectional controls reorder what follows: a log line must not forge its neighbour.
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """A line without anything that could steer a terminal or turn text around."""
    text = _CONTROLS.sub("", _ESCAPES.sub("", text))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


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
