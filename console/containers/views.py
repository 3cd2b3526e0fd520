"""Containers: list, create, details, and the acts upon one."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console import gateway
from console.containers.forms import CreateForm
from console.containers.present import rows
from console.containers.stopping import stopping
from engine import Container, State, errors

PAGE = 100  # rows


@require_safe
def show_list(request: HttpRequest) -> HttpResponse:
    """Containers, newest first, a page of them; ``q`` and ``state`` narrow them down."""
    text, wish = request.GET.get("q", "").strip(), request.GET.get("state", "")
    state = State(wish) if wish in (State.RUNNING, State.EXITED, State.CREATED) else None
    asked = request.GET.get("page", "")
    number = int(asked) if asked.isascii() and asked.isdigit() and 0 < int(asked) < 10_000 else 1
    found = gateway.engine().listing(text, state, first=(number - 1) * PAGE, count=PAGE)
    last = max(1, -(-found.matching // PAGE))
    if number > last:  # what stood there is gone
        number = last
        found = gateway.engine().listing(text, state, first=(number - 1) * PAGE, count=PAGE)
    total = sum(found.counts.values())
    chips = [
        ("", _("All"), total),
        (State.RUNNING, _("Running"), found.counts.get(State.RUNNING, 0)),
        (State.EXITED, _("Stopped"), found.counts.get(State.EXITED, 0)),
        (State.CREATED, _("Created"), found.counts.get(State.CREATED, 0)),
    ]
    context = {
        "rows": rows(found.containers),
        "total": total,
        "chips": [(value, word, count, urlencode({"state": value, "q": text})) for value, word, count in chips],
        "q": text,
        "state": state or "",
        "first": (number - 1) * PAGE + 1,
        "last": (number - 1) * PAGE + len(found.containers),
        "matching": found.matching,
        "newer": number > 1 and urlencode({"state": state or "", "q": text, "page": number - 1}),
        "older": number < last and urlencode({"state": state or "", "q": text, "page": number + 1}),
    }
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
