"""Containers: list, create, details, and the acts upon one."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console import gateway
from console.containers.forms import ALIASES, CreateForm
from engine import Container, errors


@require_safe
def show_list(request: HttpRequest) -> HttpResponse:
    """All containers, newest first; ``q`` and ``state`` narrow them down."""
    every = gateway.engine().containers()
    text, state = request.GET.get("q", "").strip().casefold(), request.GET.get("state", "")
    shown = [
        c
        for c in every
        if (not text or text in f"{c.name} {c.image} {c.id}".casefold()) and (not state or c.state == state)
    ]
    counts = [
        ("", _("All"), len(every)),
        ("running", _("Running"), sum(c.state == "running" for c in every)),
        ("exited", _("Stopped"), sum(c.state == "exited" for c in every)),
        ("created", _("Created"), sum(c.state == "created" for c in every)),
    ]
    context = {"containers": shown, "total": len(every), "chips": counts, "q": request.GET.get("q", ""), "state": state}
    return render(request, "containers/_list.html" if request.htmx else "containers/list.html", context)


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
        container = engine.create(form.spec())
        if request.POST.get("act") != "create":
            _start_or_undo(container)
    except errors.EngineError as error:
        gateway.blame(form, error, ALIASES)
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


@require_safe
def details(request: HttpRequest, ref: str) -> HttpResponse:
    """One container: the page, or its head for htmx."""
    try:
        container = gateway.engine().inspect(ref)
    except errors.NotFound:
        if not request.htmx:
            raise
        # Removed while somebody looks at it: say so in place, and leave them the log that they read.
        return render(request, "containers/_gone.html")
    name = "containers/_head.html" if request.htmx else "containers/details.html"
    return render(request, name, {"container": container})


@require_POST
def start(request: HttpRequest, ref: str) -> HttpResponse:
    """Start; the container runs when this answers."""
    gateway.engine().start(ref)
    return _done(request, ref)


@require_POST
def stop(request: HttpRequest, ref: str) -> HttpResponse:
    """Ask it to end, and kill it when it does not within its time."""
    gateway.engine().stop(ref)
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
    engine.remove(container.id, force=container.state == "running" and request.POST.get("force") == "yes")
    messages.success(request, _("Removed %(name)s.") % {"name": container.name})
    return gateway.go(request, reverse("containers:list"))


def _done(request: HttpRequest, ref: str) -> HttpResponse:
    """htmx fetches what changed by itself; without it the browser goes to the container."""
    if request.htmx:
        return HttpResponse(status=204, headers={"HX-Trigger": "wharfie:changed"})
    return redirect("containers:details", ref)
