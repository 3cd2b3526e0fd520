"""Places in a log, its lines, and pages of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from engine import errors
from engine.shim.stdio import STDERR, STDOUT

MAX_LINE_BYTES = 64 * 1024  # a longer line is cut
FIRST, FRESH = -1, -2
STREAMS: dict[int, Literal["stdout", "stderr"]] = {STDOUT: "stdout", STDERR: "stderr"}


class LogPlace(NamedTuple):
    """Between lines of a log. ``line`` -1 is before the frame's first; -2: and nothing that began before it is open."""

    segment: int
    frame: int
    line: int

    def __str__(self) -> str:
        return f"{self.segment}.{self.frame}.{self.line}"

    @classmethod
    def parse(cls, text: str) -> LogPlace:
        """InvalidRequest for what is none."""
        parts = text.split(".")
        if len(parts) != 3 or not all(part.removeprefix("-").isdecimal() and len(part) < 16 for part in parts):
            raise errors.InvalidRequest(f"{text[:60]!r} is no place in a log", field="place")
        return cls(*map(int, parts))


class LogRow(NamedTuple):
    """One line, and its place."""

    place: LogPlace
    time_ns: int
    stream: Literal["stdout", "stderr"]
    text: bytes  # without its newline, as it was written


class LogPage(NamedTuple):
    """Lines in their order. What was looked at lies between ``first`` and ``last``: ask on with these."""

    rows: list[LogRow]
    first: LogPlace
    last: LogPlace
    more: bool  # it stopped because it had enough, or for lack of time
    lost: bool = False  # what came after the place asked for was rotated away


NOWHERE = LogPlace(0, 0, FIRST)


def is_ended(run_record: Path, exit_record: Path) -> bool:
    """Nobody writes the log now: the exit record, which follows the last line, is written, or no shim is left."""
    try:
        if exit_record.stat().st_size:
            return True
    except FileNotFoundError:  # it never ran, is just being started, or is removed
        return not run_record.exists() or not exit_record.parent.exists()
    return not run_record.exists()
