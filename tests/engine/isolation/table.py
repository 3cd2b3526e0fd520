"""The isolation table of docs/isolation.md: ``python -m tests.engine.isolation.table > docs/isolation.md`` (root)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.engine.isolation import findings
from tests.engine.isolation.rows import FROM_OUTSIDE, NOT_BUILT, ROWS, WAYS, Facts, Row

HEAD = """# Isolation: what a container is, seen from inside

Written by `python -m tests.engine.isolation.table`. The probe (`tests/engine/isolation/probe.py`) ran in a container of
Wharfie with everything at its default, and in one of each peer as its own `spec` command makes it: what people get who
ask for nothing. A peer can be told to be stricter, and Docker and Podman tell them. `test_isolation.py` holds the rows.
"""


def cells(row: Row, found: dict[str, Facts]) -> list[str]:
    """A row of the table as text: its id, the check, what is expected, what each one showed."""
    shown = [
        row.found(facts) + ("" if name != "wharfie" or row.holds(facts) else " ✗") for name, facts in found.items()
    ]
    return [row.id, row.check, " or ".join(row.expected), *shown]


def markdown(found: dict[str, Facts]) -> Iterable[str]:
    """The whole document, line by line."""
    yield HEAD
    yield "| " + " | ".join(["row", "check", "expected", *found]) + " |"
    yield "|---" * (3 + len(found)) + "|"
    for row in ROWS:
        yield "| " + " | ".join(cell or "(empty)" for cell in cells(row, found)) + " |"
    yield from rest()


def rest() -> Iterable[str]:
    """What the document says below its table."""
    yield f"\nWays into a container, each of which the tests hold to all {len(ROWS)} rows, but for what is said here:\n"
    yield from (f"* {way}{_exceptions(way)}" for way in WAYS)
    yield "\nRows that only the host can see, and the tests that look:\n"
    yield from (f"* {id_}: `{test}`" for id_, test in FROM_OUTSIDE.items())
    yield "\nRows that do not hold anything yet:\n"
    yield from (f"* {id_}: {why}" for id_, why in NOT_BUILT.items())


def _exceptions(way: str) -> str:
    told = [f"{name} is {' or '.join(expected)}" for name, expected in WAYS[way].items()]
    return f": {'; '.join(told)}" if told else ""


def plain(found: dict[str, Facts]) -> Iterable[str]:
    """The table for a terminal."""
    rows = [["row", "check", "expected", *found], *(cells(row, found) for row in ROWS)]
    widths = [min(34, max(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell[:width].ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def look() -> dict[str, Facts]:
    """What the probe finds under Wharfie and under the peers that are installed."""
    with findings.starter() as engine, tempfile.TemporaryDirectory() as directory:
        found = {"wharfie": findings.probe(engine)}
        for name in filter(shutil.which, findings.PEERS):
            bundle = Path(directory) / name
            bundle.mkdir()
            found[name] = findings.peer(name, engine, bundle)
        return found


if __name__ == "__main__":
    print("\n".join(markdown(look())))
