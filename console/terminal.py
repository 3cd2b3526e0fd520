"""How the command line writes: lines, tables and times, for people; JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from console.text import clean
from engine import Container, LogLine, State
from engine.errors import EngineError
from engine.names import timestamp


def complain(error: EngineError) -> int:
    """Say on stderr what went wrong and what to do; returns the exit code."""
    progress(f"wharfie: {error.message}")
    if error.hint:
        progress(f"         {error.hint}")
    return error.exit_code


def show(line: LogLine, *, stamp: bool = False, flush: bool = False) -> None:
    """A line of output, to the stream that it came from."""
    show_lost(line)
    out = (sys.stdout if line.stream == "stdout" else sys.stderr).buffer
    out.write(f"{timestamp(line.time_ns)} {line.text}\n".encode() if stamp else f"{line.text}\n".encode())
    if flush:
        out.flush()


def show_lost(line: LogLine) -> None:
    """Say what went with rotation before a line."""
    if line.lost:
        print(f"wharfie: {line.lost} lines before this one went with rotation", file=sys.stderr, flush=True)


def progress(text: str, *, red: bool = False) -> None:
    """What goes on, for whoever waits; stdout is for results. Red on a terminal only."""
    red = red and sys.stderr.isatty()
    print(f"\x1b[31m{clean(text)}\x1b[m" if red else clean(text), file=sys.stderr)


def documents(objects: Iterable[Any]) -> None:
    """One JSON document a line."""
    for entry in objects:
        print(json.dumps(dataclasses.asdict(entry)))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell. Images and containers choose what stands in some: it steers no terminal."""
    cells = [head, *([clean(cell.replace("\n", " ")) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def status(container: Container) -> str:
    """The state in a few words."""
    if container.pid is not None and container.started_at_ns:
        paused = " (paused)" if container.state is State.PAUSED else ""
        health = f" ({container.health.status})" if container.health and not paused else ""
        return f"running for {ago(container.started_at_ns).removesuffix(' ago')}{paused}{health}"
    if container.exit:
        code = "unknown" if container.exit.code is None else container.exit.code
        why = ", out of memory" if container.exit.oom_killed else ""
        word = "restarting" if container.state is State.RESTARTING else "exited"
        return f"{word} ({code}{why}) {ago(container.exit.finished_at_ns)}"
    return f"broken: {container.broken}" if container.state is State.BROKEN else container.state.value


def ago(time_ns: int) -> str:
    """How long ago, in its largest unit."""
    seconds = max(0, time.time_ns() - time_ns) // 10**9
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length or unit == "second":
            count = seconds // length
            return f"{count} {unit}{'s' * (count != 1)} ago"
    raise AssertionError("seconds end the list")


def shorten(text: str, width: int) -> str:
    """The text, or its beginning with an ellipsis."""
    return text if len(text) <= width else f"{text[: width - 1]}…"
