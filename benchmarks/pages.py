"""What the console's pages cost, asked for over HTTP by somebody who is signed in."""

from __future__ import annotations

import time

from benchmarks import dock, fleet, lines
from benchmarks.rows import Row, of_times
from benchmarks.visitor import Visitor

TURNS = 100
SHOWN = {"roomy": 25, "dense": 50}  # rows of a page
DRAWN = 60  # lines of a log on its page; a script brings more when somebody scrolls
RESTED = 2  # turns that warm caches
LIST_TARGET = "p95 < 50"
LOG_TARGET = "p95 < 200"


def list_page() -> list[Row]:
    """A page of the list of containers, by age and by CPU: two hundred run, alone and among a thousand. As many are on
    the page however many there are: 25, or 50 where rows are dense."""
    rows = []
    with dock.engine() as engine:
        for stored in (fleet.RUNNING, fleet.STORED):
            fleet.grow(engine, stored=stored)
            with dock.console(engine) as (_pid, link):
                visitor = Visitor(link)
                for order, density in (("created", "roomy"), ("cpu", "roomy"), ("created", "dense")):
                    times = [_timed(visitor, order, density) for _ in range(TURNS + RESTED)]
                    name = f"list-page-{order}-{SHOWN[density]}-of-{stored}"
                    rows.append(of_times(name, times[RESTED:], target=LIST_TARGET))
            for database in engine.config.root.glob("console.db*"):
                database.unlink()  # so that the next console has a link again
    return rows


def log_page() -> list[Row]:
    """The log tab of ten million lines, to the last byte of the page with the newest of them."""
    with dock.engine() as engine:
        container = lines.written(engine, lines.MANY_LINES)
        with dock.console(engine) as (_pid, link):
            visitor = Visitor(link)
            times = []
            for _ in range(TURNS + RESTED):
                began = time.perf_counter()
                page = visitor.get(f"/containers/{container.id}/logs/")
                times.append(time.perf_counter() - began)
                if page.count('<li id="') != DRAWN:
                    raise AssertionError(f"the page does not show {DRAWN} lines")
    return [of_times("log-tab-of-10m", times[RESTED:], target=LOG_TARGET)]


def _timed(visitor: Visitor, order: str, density: str) -> float:
    began = time.perf_counter()
    page = visitor.get(f"/containers/?order={order}&density={density}")
    took = time.perf_counter() - began
    if page.count("<tr data-id=") != SHOWN[density]:
        raise AssertionError(f"the page does not show {SHOWN[density]} containers")
    return took
