"""Images: list, import, the starter image, remove."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlencode

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console import gateway
from console.images import tasks
from console.images.forms import ImportForm
from engine import Image
from engine.errors import NotFound


@require_safe
def show_list(request: HttpRequest) -> HttpResponse:
    """All images of this host."""
    context = {"images": gateway.engine().images(), "tasks": tasks.unfinished(request.user.pk)}
    return render(request, "images/_list.html" if request.htmx else "images/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def load(request: HttpRequest) -> HttpResponse:
    """Import a tar: `docker save`, OCI layout, or a plain root filesystem."""
    if request.method != "POST":
        given = {field: request.GET.get(field, "") for field in ("path", "name")}
        return render(request, "images/import.html", {"form": ImportForm(initial=given)})
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        part = "images/_fields.html" if form.announced else "images/import.html"
        return render(request, part, {"form": form}, status=400)
    if form.announced:
        return HttpResponse(status=204)
    upload, path, name = form.cleaned_data["upload"], form.cleaned_data["path"], form.cleaned_data["name"]
    source = _keep(upload) if upload else path
    title = _("Import %(name)s") % {"name": upload.name if upload else path}
    again = f"{reverse('images:import')}?{urlencode({'path': path or '', 'name': name})}"
    task = tasks.begin(title, request.user.pk, again, lambda progress: _load(source, name, progress))
    return redirect("images:task", task.id)


def _keep(upload: UploadedFile) -> BinaryIO:
    """The uploaded file for longer than the request: an open descriptor keeps the bytes when Django lets go of them.

    It is called what it was called where it came from: the engine names a root file system after that.
    """
    upload.seek(0)  # for the copy of the descriptor too: they share the position
    return open(upload.name or "", "rb", opener=lambda _name, _flags: os.dup(upload.fileno()))


def _load(source: Path | BinaryIO, name: str, progress: Callable[[str], None]) -> list[Image]:
    try:
        return gateway.engine().load_image(source, name=name, progress=progress)
    finally:
        if not isinstance(source, Path):
            source.close()


@require_POST
def starter(request: HttpRequest) -> HttpResponse:
    """Make the starter image from this host's own files."""
    task = tasks.begin(
        _("Make the starter image"),
        request.user.pk,
        reverse("images:list"),
        lambda progress: [gateway.engine().make_starter_image(progress)],
    )
    return redirect("images:task", task.id)


@require_safe
def task(request: HttpRequest, task_id: str) -> HttpResponse:
    """How far a task is; htmx asks again each second while it works."""
    try:
        context = {"task": tasks.find(task_id, request.user.pk)}
    except NotFound as error:
        if not request.htmx:
            raise
        return render(request, "images/_lost.html", {"error": error})  # and nothing in it asks again
    return render(request, "images/_task.html" if request.htmx else "images/task.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, ref: str) -> HttpResponse:
    """Say what goes, then remove: the image, or of several names one or all."""
    engine = gateway.engine()
    image = engine.image(ref)
    if request.method != "POST":
        return render(request, "images/_remove.html" if request.htmx else "images/remove.html", {"image": image})
    chosen = request.POST.get("name", "")
    if chosen in image.tags:
        engine.remove_image(chosen)
        messages.success(request, _("Removed the name %(name)s.") % {"name": chosen})
    else:
        # Who did not choose saw one name: if the image got another one meanwhile, the engine refuses.
        engine.remove_image(image.id, force=chosen == "*")
        messages.success(
            request, _("Removed image %(name)s.") % {"name": image.tags[0] if image.tags else image.short_id}
        )
    return gateway.go(request, reverse("images:list"))
