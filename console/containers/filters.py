"""The chips above the list of containers: each stands for some statuses. Some are under
two of them: in a restart loop one has failed, and is about to start; an unhealthy one runs all the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy


class Filter(NamedTuple):
    """One chip; `value` is what an address calls it."""

    value: str
    word: str | Promise
    statuses: tuple[str, ...]  # the engine's

    def count(self, counts: Mapping[str, int]) -> int:
        """How many it leaves."""
        return sum(counts.get(each, 0) for each in self.statuses) if self.statuses else sum(counts.values())


FILTERS = (
    Filter("", gettext_lazy("All"), ()),
    Filter("running", gettext_lazy("Running"), ("running", "unhealthy")),
    Filter("starting", gettext_lazy("Starting"), ("starting", "restarting")),
    Filter("degraded", gettext_lazy("Paused or degraded"), ("paused", "unhealthy")),
    Filter("failed", gettext_lazy("Failed"), ("failed", "broken", "restarting")),
    Filter("stopped", gettext_lazy("Stopped"), ("exited",)),
    Filter("created", gettext_lazy("Created"), ("created",)),
)
ALWAYS = ("", "running", "failed", "stopped")  # of these there is a chip where there is no container, too
_STATUSES = {each.value: each.statuses for each in FILTERS}


def known(value: str) -> str:
    """A filter that there is; "" for any other."""
    return value if value in _STATUSES else ""


def statuses(value: str) -> tuple[str, ...]:
    """What it lets through; () is everything."""
    return _STATUSES.get(value, ())
