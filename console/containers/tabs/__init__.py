"""One container, seen from several sides: each tab has a module here, an address and a template.

`show` gives them the same head, so that a tab is a function that knows its own context only.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from console import endings, gateway, text
from console.containers.stopping import is_stopping
from engine import Container, errors, for_admins

TABS = (
    ("overview", _("Overview"), "containers:details"),
    ("logs", _("Log"), "containers:logs"),
    ("terminal", _("Terminal"), "containers:terminals:list"),
    ("files", _("Files"), "containers:files"),
    ("changes", _("Changes"), "containers:changes"),
    ("processes", _("Processes"), "containers:processes"),
    ("metrics", _("Metrics"), "containers:metrics"),
    ("health", _("Health"), "containers:health"),
    ("config", _("Config"), "containers:config"),
    ("events", _("Events"), "containers:events"),
)


def show(
    request: HttpRequest, container: Container, tab: str, context: dict[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    """A tab's page, `templates/containers/tabs/<tab>.html`."""
    tabs = [(name, word, reverse(target, args=(container.id,))) for name, word, target in TABS]
    return render(
        request, f"containers/tabs/{tab}.html", head_of(container) | {"tabs": tabs, "tab": tab} | (context or {}),
        status=status,
    )  # fmt: skip


def head_of(container: Container) -> dict[str, Any]:
    """What the head above every tab shows."""
    ended = container.state in ("exited", "restarting") and container.exit
    return {
        "container": container,
        "stopping": is_stopping(container.id),
        "opened": for_admins(container.spec),
        "unhealthy": _unhealthy(container),
        "ending": endings.explain(container, gateway.engine().kills(container.id)) if ended else None,
    }


def _unhealthy(container: Container) -> dict[str, Any] | None:
    """What its check found last, when that has failed too often; when it became so, if anybody knows."""
    if container.pid is None or not container.health or container.health.status != "unhealthy":
        return None
    changes = gateway.engine().health_changes(container.id, 1)
    known = changes and changes[0].detail.get("status") == "unhealthy"
    last = container.health.results[-1] if container.health.results else None
    said = [line for line in map(text.clean, last.output.splitlines()) if line.strip()] if last else []
    return {
        "streak": container.health.failing_streak,
        "checked": last is not None,
        "code": last.code if last else None,
        "said": said[-1][:200] if said else "",
        "since_ns": changes[0].time_ns if known else None,
    }


@require_safe
def head(request: HttpRequest, ref: str) -> HttpResponse:
    """The head alone, for a page that heard of a change. Removed while somebody looks at it: it says so in place, and
    leaves them what they read."""
    try:
        container = gateway.engine().inspect(ref)
    except errors.NotFound:
        return render(request, "containers/_gone.html")
    return render(request, "containers/_head.html", head_of(container))
