"""The first page: what runs here, what is wrong, who uses the most, how full the host is, what happened last."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from console import disk, endings, eventlog, gateway, hostload, recorder
from console.jobs.models import Record, Status
from console.said import said
from console.templatetags.wharfie import look
from engine import Container, Engine, EventFilter, errors

TOP = 5  # users of each kind
LEAST_CPU = 0.1  # of a core: who uses less has no full bar, be it the most
SHOWN = 10  # troubles of each kind
EVENTS = 12
DAY_NS = 24 * 3600 * 10**9
AILING = (
    ("unhealthy", gettext_lazy("its health check fails")),
    ("restarting", gettext_lazy("it ends and is restarted again and again")),
    ("broken", gettext_lazy("its record is damaged")),
)


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """The page, or its changing part for htmx."""
    engine = gateway.engine()
    counts = dict(engine.listing(count=0).counts)
    total = sum(counts.values())
    context = {
        "total": total,
        "alive": sum(counts.get(state, 0) for state in ("running", "starting", "unhealthy", "paused")),
        "troubles": list(_troubles(request, engine, counts)),
        "users": _users(engine),
        "images": len(engine.images()),
        "volumes": len(engine.volumes()),
        "events": engine.find_events(EventFilter(without=eventlog.hidden_from(request.user)), EVENTS),
        "host": hostload.figures(),
        "room": disk.room(),
    }
    return render(request, "overview/_facts.html" if request.htmx else "overview/show.html", context)


@require_safe
def users(request: HttpRequest) -> HttpResponse:
    """Who uses the most, alone: the page fetches it again and again."""
    return render(request, "overview/_users.html", {"users": _users(gateway.engine())})


def _troubles(request: HttpRequest, engine: Engine, counts: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """What somebody should look at: a state, a name, where it is, why."""
    for state, why in AILING:
        if counts.get(state):
            for container in engine.listing(states=[state], count=SHOWN).containers:
                reason = said(container.broken) if state == "broken" else why
                yield {"container": container, "name": container.name or container.short_id, "why": reason,
                       "time_ns": _ails_since(engine, container),
                       "url": reverse("containers:details", args=[container.id])}  # fmt: skip
    for container in _ended_badly(engine):
        oom = bool(container.exit and container.exit.oom_killed)
        why = _("the kernel killed it: out of memory") if oom else endings.short(container.exit)
        yield {"container": container, "name": container.name, "why": why, "time_ns": container.exit.finished_at_ns,
               "url": reverse("containers:details", args=[container.id])}  # fmt: skip
    since = {"ended_at_ns__gte": time.time_ns() - DAY_NS, "status__in": (Status.FAILED, Status.INTERRUPTED)}
    for job in Record.objects.seen_by(request.user).filter(**since)[:SHOWN]:
        why = said(job.error) or _("the console ended while it was running")
        yield {"job": job, "name": job.title, "why": why,
               "time_ns": job.ended_at_ns, "url": job.get_absolute_url()}  # fmt: skip


def _ails_since(engine: Engine, container: Container) -> int | None:
    """When it became unhealthy, or last ended; None where that is not known."""
    if container.pid is not None and container.health and container.health.status == "unhealthy":
        changes = engine.health_changes(container.id, 1)
        return changes[0].time_ns if changes and changes[0].detail.get("status") == "unhealthy" else None
    return container.exit.finished_at_ns if container.state == "restarting" and container.exit else None


def _ended_badly(engine: Engine) -> list[Container]:
    """Containers whose last run ended with an error in the last day, and that nobody has started since."""
    wish = EventFilter(kind="container", action="die", since_ns=time.time_ns() - DAY_NS)
    ended: dict[str, int] = {}
    for event in engine.find_events(wish, 500):  # the newest first
        if event.detail.get("code") != 0:
            ended.setdefault(event.object_id, event.time_ns)
    found = engine.listing(states=["failed"], order="ended", figures=ended, count=SHOWN).containers
    return [container for container in found if container.id in ended and look(container) == "failed"]


def _users(engine: Engine) -> list[dict[str, Any]]:
    """Who uses the most of each: from the figures that are read once a second for all pages, and the last count.

    CPU is sorted by a moving average, so that rows do not jump; what is shown is the newest figure, which goes on by
    itself. Memory jumps little, and whoever reads the figures sees at once when their order is another one.
    """
    figures = recorder.recorder().take()
    usage = disk.counter.latest()
    written = {} if usage is None else {each: size + usage.logs.get(each, 0) for each, size in usage.containers.items()}
    held = {each: float(of["mem"]) for each, of in figures.items() if of["mem"]}
    kinds = (
        (
            "cpu",
            _("CPU, cores"),
            _lately(figures),
            {each: of["cpu"] or 0.0 for each, of in figures.items()},
        ),
        ("mem", _("Memory"), held, held),
        ("disk", _("Disk"), written, written),
    )
    found = []
    for kind, word, order, values in kinds:
        chosen = sorted(order.items(), key=lambda item: -item[1])[:TOP]
        rows, full = [], max([LEAST_CPU if kind == "cpu" else 1, *(share for _, share in chosen[:1])])
        for container_id, share in chosen:
            try:
                container = engine.inspect(container_id)
            except errors.NotFound:  # removed since it was counted
                continue
            rows.append({"container": container, "value": values[container_id], "share": share / full})
        found.append(
            {
                "kind": kind,
                "word": word,
                "rows": rows,
                "live": kind != "disk",
                "waits": kind == "disk" and usage is None,
            }
        )
    return found


def _lately(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The CPU that each that runs used on the average of some seconds, or now when it has just begun; not of those that
    used nothing."""
    averages = recorder.recorder().history.averages("cpu")
    found = {each: averages.get(each, of["cpu"] or 0.0) for each, of in figures.items()}
    return {each: value for each, value in found.items() if value}
