"""The list of containers, a page of it, and the menu of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_safe

from console import gateway, recorder
from console.containers import filters
from console.containers.present import drawn, rows
from console.containers.tabs import head_of
from console.text import whole
from engine import Listing

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

FIGURES = ("cpu", "memory")
ORDERS = (
    ("created", gettext_lazy("Newest first")),
    ("-created", gettext_lazy("Oldest first")),
    ("name", gettext_lazy("Name")),
    ("-name", gettext_lazy("Name, Z to A")),
    ("cpu", gettext_lazy("Most CPU")),
    ("memory", gettext_lazy("Most memory")),
    ("owner", gettext_lazy("Owner")),
)
# The columns: a word, and what a click on it sorts by, first and once more.
COLUMNS: tuple[tuple[_StrOrPromise, tuple[str, ...]], ...] = (
    (gettext_lazy("Name, image"), ("name", "-name")),
    (gettext_lazy("State"), ()),
    (gettext_lazy("CPU, cores"), ("cpu",)),
    (gettext_lazy("Memory"), ("memory",)),
    (gettext_lazy("Owner"), ("owner",)),
    (pgettext_lazy("when", "Created"), ("created", "-created")),
)
FALLING = {"-name", "cpu", "memory", "created"}
DENSITIES = {"roomy": 25, "dense": 50}  # rows of a page: one and a half of a laptop's screens, or so
YEAR_S = 365 * 24 * 3600


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """A page of containers; ``q`` and ``state`` narrow them down, ``order`` sorts them."""
    asked = request.GET
    text = asked.get("q", "").strip()
    state = filters.known(asked.get("state", ""))
    order = asked.get("order", "") if asked.get("order") in dict(ORDERS) else "created"
    density = asked.get("density") or request.COOKIES.get("density", "")
    density = density if density in DENSITIES else "roomy"
    context = _window(text, state, order, asked.get("page", ""), DENSITIES[density]) | {
        "q": text, "state": state, "order": order, "orders": ORDERS, "moving": order in FIGURES, "density": density,
        "denser": urlencode(_wishes(text, state, order) | {"density": "dense" if density == "roomy" else "roomy"}),
        "heads": [_head(word, orders, text, state, order) for word, orders in COLUMNS],
    }  # fmt: skip
    response = render(request, "containers/_list.html" if request.htmx else "containers/list.html", context)
    if asked.get("density") == density:
        response.set_cookie("density", density, max_age=YEAR_S, samesite="Lax", secure=request.is_secure())
    return response


def _wishes(text: str, state: str, order: str) -> dict[str, str]:
    given = {"q": text, "state": state, "order": "" if order == "created" else order}
    return {name: value for name, value in given.items() if value}


def _head(
    word: _StrOrPromise, orders: tuple[str, ...], text: str, state: str, order: str
) -> tuple[_StrOrPromise, str, str]:
    """A column's heading: its word, the query that sorts by it or "", and which way the list stands by it or ""."""
    if not orders:
        return word, "", ""
    following = orders[-1] if order == orders[0] else orders[0]
    way = "" if order not in orders else "descending" if order in FALLING else "ascending"
    return word, f"?{urlencode(_wishes(text, state, following))}", way


def _window(text: str, state: str, order: str, page: str, size: int) -> dict[str, object]:
    number = whole(page, 10_000) or 1
    figures = recorder.recorder().history.averages(order) if order in FIGURES else None
    engine = gateway.engine()

    def window(number: int) -> Listing:
        return engine.listing(
            text, filters.statuses(state), order=order, figures=figures, first=(number - 1) * size, count=size
        )

    found = window(number)
    last = max(1, -(-found.matching // size))
    if number > last:  # what stood there is gone
        number = last
        found = window(number)
    total = sum(found.counts.values())
    wishes = _wishes(text, state, order)
    shown = rows(found.containers, found.owners)
    return {
        "rows": shown,
        "drawn": drawn(shown),
        "total": total,
        "images": bool(total or engine.images()),
        "chips": [
            (each.value, each.word, count, urlencode(_wishes(text, each.value, order)))
            for each in filters.FILTERS
            if (count := each.count(found.counts)) or each.value in filters.ALWAYS or each.value == state
        ],
        "first": (number - 1) * size + 1,
        "last": (number - 1) * size + len(found.containers),
        "matching": found.matching,
        "newer": number > 1 and urlencode(wishes | {"page": number - 1}),
        "older": number < last and urlencode(wishes | {"page": number + 1}),
    }


@require_safe
def menu(request: HttpRequest, ref: str) -> HttpResponse:
    """What can be done to one container: fetched when it is asked for, so that no row carries it."""
    if not request.htmx:
        return redirect("containers:details", ref)
    container = gateway.engine().inspect(ref)
    return render(request, "containers/_menu.html", head_of(container))
