"""Containers: create, and the acts upon one."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from console import gateway
from console.containers.forms import CreateForm
from console.containers.stopping import stopping
from engine import Container, errors


@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponse:
    """The form, and the act. "Create and start" is one act: when the start fails, nothing is left behind."""
    engine = gateway.engine()
    images = engine.images()
    first = images[0].tags[0] if images and images[0].tags else ""
    form = CreateForm(request.POST or None, images=images, initial={"image": request.GET.get("image", first)})
    context = {"form": form, "images": images, "volumes": engine.volumes()}
    if request.method != "POST":
        return render(request, "containers/create.html", context)
    if not form.is_valid():
        return render(request, "containers/create.html", context, status=400)
    try:
        container = engine.create(form.spec(), caller=gateway.caller(request.user))
        if request.POST.get("act") != "create":
            _start_or_undo(container)
    except errors.EngineError as error:
        gateway.blame(form, error)
        return render(request, "containers/create.html", context, status=gateway.status_of(error))
    return redirect("containers:details", container.name)


def _start_or_undo(container: Container) -> None:
    engine = gateway.engine()
    try:
        engine.start(container.id)
    except errors.EngineError as error:
        try:
            engine.remove(container.id, force=True)
        except errors.EngineError as second:
            error.message = _("%(first)s; and removing the container failed: %(second)s") % {
                "first": error.message,
                "second": second.message,
            }
        raise


@require_POST
def start(request: HttpRequest, ref: str) -> HttpResponse:
    """Start; the container runs when this answers."""
    gateway.engine().start(ref)
    return _done(request, ref)


@require_POST
def stop(request: HttpRequest, ref: str) -> HttpResponse:
    """Ask it to end, and kill it when it does not within its time."""
    container = gateway.engine().inspect(ref)
    with stopping(container.id):
        gateway.engine().stop(container.id)
    return _done(request, ref)


@require_POST
def restart(request: HttpRequest, ref: str) -> HttpResponse:
    """Stop it as `stop` does, and start it again."""
    container = gateway.engine().inspect(ref)
    with stopping(container.id):
        gateway.engine().restart(container.id)
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
    gateway.engine().kill(ref, "KILL")
    return _done(request, ref)


@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, ref: str) -> HttpResponse:
    """Say what goes, then remove. What runs is killed: the button says so."""
    engine = gateway.engine()
    container = engine.inspect(ref)
    if request.method != "POST":
        name = "containers/_remove.html" if request.htmx else "containers/remove.html"
        return render(request, name, {"container": container})
    engine.remove(container.id, force=container.state.alive and request.POST.get("force") == "yes")
    messages.success(request, _("Removed %(name)s.") % {"name": container.name})
    return gateway.go(request, reverse("containers:list"))


def _done(request: HttpRequest, ref: str) -> HttpResponse:
    """htmx fetches what changed by itself; without it the browser goes to the container."""
    if request.htmx:
        return HttpResponse(status=204, headers={"HX-Trigger": "wharfie:changed"})
    return redirect("containers:details", ref)
