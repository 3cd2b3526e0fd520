"""A window of the list of containers: all are filtered, counted and sorted by the census, few are read in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from engine.containers.census import Census, Entry
from engine.containers.records import Records
from engine.containers.spec import Container
from engine.errors import InvalidRequest

MATCH = "match"
ORDERS: dict[str, Callable[[Entry], Any]] = {
    "created": lambda entry: -entry.created_at_ns,
    "name": lambda entry: entry.name.casefold(),
    "owner": lambda entry: (not entry.owner, entry.owner.casefold(), -entry.created_at_ns),
}


@dataclass(frozen=True, slots=True)
class Listing:
    """Some containers, and how many there are beside them."""

    containers: list[Container]
    matching: int  # how many the filters leave, seen or not
    counts: Mapping[str, int]  # of all, by status; see `Entry`
    owners: Mapping[str, str]  # who created those that are seen, by id; "" the command line


def listing(
    census: Census, records: Records, text: str, states: Collection[str], order: str,
    figures: Mapping[str, float] | None, first: int, count: int | None,
) -> Listing:  # fmt: skip
    """Those whose name, image, owner or id holds ``text`` and whose status is one of ``states``, if those are given:
    ``count`` of them from ``first``.

    ``order`` is one of ORDERS, with a - before it the other way round, or MATCH: those whose name is ``text`` first,
    then those whose begins so, and those that have it in theirs. With ``figures``, one for each id, it is by those, the
    largest first and those without last.
    """
    entries = census.look()
    counts = Counter[str](entry.status for entry in entries)
    wanted = text.casefold()
    matching = [
        entry for entry in entries if (not states or entry.status in states) and (not wanted or wanted in entry.sought)
    ]
    if order == MATCH:
        matching.sort(key=lambda entry: _distance(wanted, entry.name.casefold()))
    else:
        _sort(matching, order, figures)
    seen = matching[first : None if count is None else first + count]
    found = {container.id: container for container in records.several([entry.id for entry in seen])}
    return Listing(
        [found[entry.id] for entry in seen if entry.id in found],
        len(matching),
        counts,
        {entry.id: entry.owner for entry in seen},
    )


def _distance(wanted: str, name: str) -> int:
    return 0 if name == wanted else 1 if name.startswith(wanted) else 2 if wanted in name else 3


def _sort(entries: list[Entry], order: str, figures: Mapping[str, float] | None) -> None:
    word = order.removeprefix("-")
    if figures is not None:
        entries.sort(key=lambda entry: -figures.get(entry.id, -1.0), reverse=order.startswith("-"))
    elif word not in ORDERS:
        raise InvalidRequest(f"{word!r} is no order", hint=f"use {', '.join(ORDERS)}", field="order")
    elif order != "created":  # as the census has them
        entries.sort(key=ORDERS[word], reverse=order.startswith("-"))
