"""A figure beside a peer's, and the table of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

SETTLE_S = 0.05
# What is asked of rows with several peers, by name and peer: of the figure itself, or of its ratio.
TARGETS = {
    ("exec", "docker"): "ratio <= 0.125",
    ("exec-tty", "docker"): "<= 8",
    ("start-rate", "-"): ">= 100",
    ("start-rate", "docker"): ">= 100",
    ("pause", "docker"): "ratio <= 0.25",
    ("stop-t0", "docker"): "ratio <= 0.25",
    ("rm", "docker"): "ratio <= 0.25",
    ("log-ingest", "cat"): ">= 100",
    ("log-ingest", "docker json-file"): "ratio >= 2",
    ("log-read", "read()"): ">= 200",
    ("log-tail", "tail"): "< 50",
    ("of-1000-list", "-"): "p95 < 50",
    ("of-1000-idle-cpu", "-"): "< 1",
    ("of-1000-start-late", "the first 10"): "ratio <= 1.3",
}


@dataclass(frozen=True)
class Row:
    """One line of the report. ``ratio`` is Wharfie's figure over the peer's."""

    name: str
    unit: str
    wharfie: float
    peer_name: str = "-"
    peer: float | None = None
    n: int = 1
    p95: float | None = None
    target: str = "-"  # of the figure, or of its p95

    @property
    def ratio(self) -> float | None:
        """Below 1 means less than the peer."""
        return self.wharfie / self.peer if self.peer else None


def aimed(row: Row) -> Row:
    """The same row, with what is asked of it."""
    return replace(row, target=TARGETS.get((row.name, row.peer_name), row.target))


def settle() -> None:
    """Between two parties' turns: a daemon works on after its answer, and that would count as the next one's."""
    time.sleep(SETTLE_S)


def timed(act: Callable[[], object]) -> float:
    """The seconds that it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def of_times(
    name: str, times_s: Sequence[float], peer_name: str = "-", peer_s: Sequence[float] = (), target: str = "-"
) -> Row:
    """A row of medians in milliseconds."""
    return Row(
        name,
        "ms",
        statistics.median(times_s) * 1e3,
        peer_name,
        statistics.median(peer_s) * 1e3 if peer_s else None,
        len(times_s),
        statistics.quantiles(times_s, n=20)[-1] * 1e3,
        target,
    )


def table(rows: Sequence[Row]) -> str:
    """The report as text."""
    head = ("name", "unit", "wharfie", "peer_name", "peer", "ratio", "n", "p95", "target")
    lines = [head]
    for row in rows:
        figures = [
            f"{value:.2f}" if value is not None else "-" for value in (row.wharfie, row.peer, row.ratio, row.p95)
        ]
        lines.append(
            (row.name, row.unit, figures[0], row.peer_name, figures[1], figures[2], str(row.n), figures[3], row.target)
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
