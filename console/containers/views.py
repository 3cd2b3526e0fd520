"""The acts upon one container."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from console import gateway
from console.containers import stopping


@require_POST
def start(request: HttpRequest, ref: str) -> HttpResponse:
    """Start; the container runs when this answers."""
    gateway.engine().start(ref)
    return _done(request, ref)


@require_POST
def stop(request: HttpRequest, ref: str) -> HttpResponse:
    """Ask it to end, and kill it when it does not within its time."""
    stopping.begin(request.user, gateway.engine().inspect(ref), "stop")
    return _done(request, ref)


@require_POST
def restart(request: HttpRequest, ref: str) -> HttpResponse:
    """Stop it as `stop` does, and start it again."""
    stopping.begin(request.user, gateway.engine().inspect(ref), "restart")
    return _done(request, ref)


@require_POST
def pause(request: HttpRequest, ref: str) -> HttpResponse:
    """Freeze it."""
    gateway.engine().pause(ref)
    return _done(request, ref)


@require_POST
def unpause(request: HttpRequest, ref: str) -> HttpResponse:
    """Let it go on."""
    gateway.engine().unpause(ref)
    return _done(request, ref)


@require_POST
def kill(request: HttpRequest, ref: str) -> HttpResponse:
    """End it at once."""
    gateway.engine().kill(ref, "KILL", caller=gateway.caller(request.user))
    return _done(request, ref)


@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, ref: str) -> HttpResponse:
    """Say what goes, then remove. What runs is killed: the button says so."""
    engine = gateway.engine()
    container = engine.inspect(ref)
    if request.method != "POST":
        name = "containers/_remove.html" if request.htmx else "containers/remove.html"
        return render(request, name, {"container": container, "size": engine.size([container.id])})
    force = container.state.alive and request.POST.get("force") == "yes"
    engine.remove(container.id, force=force, caller=gateway.caller(request.user))
    messages.success(request, _("Removed %(name)s.") % {"name": container.name})
    return gateway.go(request, reverse("containers:list"))


def _done(request: HttpRequest, ref: str) -> HttpResponse:
    """htmx fetches what changed by itself; without it the browser goes to the container."""
    if request.htmx:
        return HttpResponse(status=204, headers={"HX-Trigger": "wharfie:changed"})
    return redirect("containers:details", ref)
