"""How well a container is: what its check found lately, when that changed, and the check run now."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from console import gateway
from console.containers import tabs
from console.spelling import health, seconds
from console.text import clean
from engine import Container, Engine, Event, EventFilter, HealthResult

STARTS = 500  # that are looked at; of several in a row one is shown


@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """The tab; a POST runs the check."""
    engine = gateway.engine()
    container = engine.inspect(ref)
    check = container.spec.health
    context: dict[str, Any] = {"changes": _changes(engine, container)}
    if check is not None:
        context["command"] = health(check)
        context["times"] = {
            name: seconds(getattr(check, f"{name}_s"))
            for name in ("interval", "timeout", "start_period", "start_interval")
        } | {"retries": check.retries}
    if request.method == "POST":
        context["now"] = _row(engine.check_health(container.id, caller=gateway.caller(request.user)))
    if container.health:
        context["results"] = [_row(result) for result in reversed(container.health.results)]
    return tabs.show(request, container, "health", context)


def _changes(engine: Engine, container: Container) -> list[Event]:
    """What became of its health, the newest first, and where it began anew: after a start there is none at first."""
    changes = engine.health_changes(container.id)
    if not changes:
        return []
    starts = EventFilter(object_id=container.id, action="start", since_ns=changes[-1].time_ns)
    shown: list[Event] = []
    for event in sorted([*changes, *engine.find_events(starts, STARTS)], key=lambda event: event.time_ns):
        if event.action != "start" or shown[-1].action != "start":
            shown.append(event)
    return shown[::-1]


def _row(result: HealthResult) -> dict[str, Any]:
    return {
        "at_ns": result.finished_at_ns,
        "took_ms": (result.finished_at_ns - result.started_at_ns) // 1_000_000,
        "code": result.code,
        "output": "\n".join(map(clean, result.output.splitlines())),
    }
