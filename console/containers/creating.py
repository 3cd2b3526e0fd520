"""Creating a container: anew, like another one, or in the place of one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from console import compose, gateway, jobs, spelling
from console.containers import stopping
from console.containers.forms import CreateForm, initial
from console.containers.tabs.environment import without_values
from console.said import said as in_words
from engine import Container, ContainerSpec, errors

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser

MOMENT_S = 2.0  # for which the form's page waits for a job's end; longer ones are looked at on the job's own


def _form(request: HttpRequest, **given: Any) -> CreateForm:
    data = request.POST if request.method == "POST" else None
    return CreateForm(
        data, images=gateway.engine().images(), caller=gateway.caller(request.user), check=_check,
        opened=request.POST.getlist("opened"), **given,
    )  # fmt: skip


def _check(spec: ContainerSpec) -> None:
    """What is wrong with it whoever asks, while its image and those that it shares with are as they are now."""
    engine = gateway.engine()
    if spec.name and _is_taken(spec.name):
        words = _("The name %(name)s is taken") % {"name": spec.name}
        raise errors.AlreadyExists(words, hint=_("choose another, or remove that container"), field="name")
    engine.check(spec)
    if spec.image:
        engine.image(spec.image)
    for kind in ("network", "pid", "ipc"):
        if other := spec.namespaces.container(kind):
            try:
                engine.inspect(other)
            except (errors.NotFound, errors.InvalidRequest) as error:
                error.field = "network_of" if kind == "network" else kind
                raise


def _is_taken(name: str) -> bool:
    try:
        return gateway.engine().inspect(name).name == name  # and not one whose id begins so
    except (errors.NotFound, errors.InvalidRequest):
        return False


def _page(
    request: HttpRequest, form: CreateForm, title: str, status: int = 200, replaces: Container | None = None
) -> HttpResponse:
    engine = gateway.engine()
    context = {"form": form, "title": title, "images": form.tags, "volumes": engine.volumes(), "replaces": replaces}
    return render(request, "containers/create.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponse:
    """The form, filled in like the container ``like`` if one is named; and the act. "Create and start" is one act: when
    the start fails, nothing is left behind."""
    engine = gateway.engine()
    title = _title(request)
    if request.method != "POST":
        return _page(request, _form(request, initial=_first(request)), title)
    form = _form(request)
    if request.POST.get("act") == "volume":
        return _with_volume(request, form, title)
    if not form.is_valid():
        return _page(request, form, title, 400)
    try:
        container = engine.create(form.spec, caller=gateway.caller(request.user))
        if request.POST.get("act") != "create":
            _start_or_undo(container)
    except errors.EngineError as error:
        form.blame(error)
        return _page(request, form, title, gateway.status_of(error))
    return redirect("containers:details", container.name)


def _title(request: HttpRequest) -> str:
    """What is created; of a copy, what it is a copy of, as long as that is there."""
    if like := request.GET.get("like"):
        with contextlib.suppress(errors.NotFound, errors.InvalidRequest):
            return _("Duplicate %(name)s") % {"name": gateway.engine().inspect(like).name}
    return _("Create container")


def _first(request: HttpRequest) -> dict[str, Any]:
    engine = gateway.engine()
    if like := request.GET.get("like"):
        return _like(request, like) | {"name": ""}
    images = engine.images()
    return {"image": request.GET.get("image", images[0].tags[0] if images and images[0].tags else "")}


def _like(request: HttpRequest, ref: str) -> dict[str, Any]:
    """Filled in like that container, with the values of its variables for who may have them."""
    spec = gateway.engine().asked(ref)
    if not spec.env:
        return initial(spec)
    try:
        gateway.engine().environment(ref, caller=gateway.caller(request.user))
    except errors.Denied:
        spec = without_values(spec)
    return initial(spec)


def _with_volume(request: HttpRequest, form: CreateForm, title: str, replaces: Container | None = None) -> HttpResponse:
    """Make the volume that was missing; what was filled in stays."""
    try:
        volume = gateway.engine().create_volume(request.POST.get("volume", ""))
    except errors.EngineError as error:
        form.add_error("volumes", gateway.sentences(error))
        return _page(request, form, title, gateway.status_of(error), replaces)
    messages.success(request, _("Created volume %(name)s.") % {"name": volume.name})
    return _page(request, form, title, replaces=replaces)


def _start_or_undo(container: Container) -> None:
    engine = gateway.engine()
    try:
        engine.start(container.id)
    except errors.EngineError as error:
        try:
            engine.remove(container.id, force=True)
        except errors.EngineError as second:
            error.message = _("%(first)s; and removing the container failed: %(second)s") % {
                "first": in_words(error.message),
                "second": in_words(second.message),
            }
        raise


@require_POST
def equivalents(request: HttpRequest) -> HttpResponse:
    """What the form asks for as a `docker run` and as a compose file; or what is still wrong with it."""
    form = _form(request)
    if not form.is_valid():
        faults = [
            (form.fields[name].label if name in form.fields else "", message)
            for name, said in form.errors.items()
            for message in said
        ]
        return render(request, "containers/_equivalents.html", {"faults": faults})
    return render(request, "containers/_equivalents.html", said(form.spec))


def said(spec: ContainerSpec) -> dict[str, str]:
    """A spec in others' words."""
    profile = spelling.PROFILE if spec.security.seccomp not in ("", "unconfined") else ""
    return {"run": spelling.shell(spelling.run(spec)), "compose": compose.compose(spec), "profile": profile}


@require_http_methods(["GET", "HEAD", "POST"])
def recreate(request: HttpRequest, ref: str) -> HttpResponse:
    """Another container in the place of one, for what cannot be changed in place. The old one is kept, stopped."""
    engine = gateway.engine()
    container = engine.inspect(ref)
    title = _("Edit and create %(name)s anew") % {"name": container.name}
    if request.method != "POST":
        form = _form(request, initial=_like(request, container.id))
        return _page(request, form, title, replaces=container)
    form = _form(request)
    if request.POST.get("act") == "volume":
        return _with_volume(request, form, title, container)
    if not form.is_valid():
        return _page(request, form, title, 400, container)
    done: list[Container] = []
    try:
        if container.state.alive:
            record = _recreate_behind(request.user, container, form.spec, done)
            if not done:
                return redirect(record)
        else:
            done += engine.recreate(container.id, form.spec, caller=gateway.caller(request.user))
    except errors.EngineError as error:
        form.blame(error)
        return _page(request, form, title, gateway.status_of(error), container)
    made, before = done
    messages.success(
        request, _("%(name)s was created anew. The one before is kept as %(before)s.") % {
            "name": made.name, "before": before.name,
        },
    )  # fmt: skip
    return redirect("containers:details", made.name)


def _recreate_behind(user: AbstractUser, old: Container, spec: ContainerSpec, done: list[Container]) -> jobs.Record:
    """The same as a job, for one that may take its time to end. Cancelled before it has, nothing is changed. What comes
    of it within a moment is in ``done``, or raised."""
    failed: list[errors.EngineError] = []

    def work(job: jobs.Job) -> jobs.Results:
        words = _("Waiting for %(name)s to end") % {"name": old.name}
        job.step(words)
        try:
            with stopping.stopping(old.id):
                both = gateway.engine().recreate(old.id, spec, caller=job.caller, patience=lambda: job.step(words))
        except errors.EngineError as error:
            failed.append(error)
            raise
        done.extend(both)
        return [(each.name, reverse("containers:details", args=(each.id,))) for each in both]

    record = jobs.finished(jobs.begin(user, _("Create %(name)s anew") % {"name": old.name}, work), MOMENT_S)
    if failed or done:
        jobs.seen(record)
    if failed:
        raise failed[0]
    return record
