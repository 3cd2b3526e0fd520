"""A window of the list of containers: all are filtered and counted by what is cheap to know, few are read in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from engine.containers.records import Records
from engine.containers.spec import Container, State
from engine.storage.database import Database
from engine.storage.paths import Paths


@dataclass(frozen=True, slots=True)
class Listing:
    """Some containers, the newest first, and how many there are beside them."""

    containers: list[Container]
    matching: int  # how many the filters leave, seen or not
    counts: Mapping[
        State, int
    ]  # of all; a paused one and one that restarts count as running, a broken one as what it was before


def listing(
    paths: Paths, database: Database, records: Records, text: str, state: State | None, first: int, count: int | None
) -> Listing:
    """Those whose name, image or id holds ``text`` and that are in ``state``: ``count`` of them from ``first``."""
    recorded = [path.stem for path in paths.shims.glob("[!.]*.json")]
    running = {container_id for container_id in recorded if records.alive(container_id)}
    wanted = text.casefold()
    counts: Counter[State] = Counter()
    matching = []
    rows = database.rows("SELECT id, name, image, started_at_ns FROM containers ORDER BY created_at_ns DESC")
    for container_id, name, image, started_at_ns in rows:
        stopped = State.CREATED if started_at_ns is None else State.EXITED
        now = State.RUNNING if container_id in running else stopped
        counts[now] += 1
        if state in (None, now) and (not wanted or wanted in f"{name} {image} {container_id}".casefold()):
            matching.append(container_id)
    seen = matching[first : None if count is None else first + count]
    return Listing(records.several(seen), len(matching), counts)
