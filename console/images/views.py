"""Images: list, import, the starter image, remove."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

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


@require_safe
def show_list(request: HttpRequest) -> HttpResponse:
    """All images of this host."""
    context = {"images": gateway.engine().images(), "tasks": tasks.unfinished(request.user.pk)}
    return render(request, "images/_list.html" if request.htmx else "images/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def load(request: HttpRequest) -> HttpResponse:
    """Import a tar: `docker save`, OCI layout, or a plain root filesystem."""
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    if request.method != "POST":
        return render(request, "images/import.html", {"form": form})
    if not form.is_valid():
        return render(request, "images/import.html", {"form": form}, status=400)
    upload, path, name = form.cleaned_data["upload"], form.cleaned_data["path"], form.cleaned_data["name"]
    source = _keep(upload) if upload else path
    title = _("Import %(name)s") % {"name": upload.name if upload else path}
    task = tasks.begin(title, request.user.pk, lambda progress: _load(source, name, progress))
    return redirect("images:task", task.id)


def _keep(upload: UploadedFile) -> BinaryIO:
    """The uploaded file for longer than the request: its name goes, an open descriptor keeps the bytes."""
    file = os.fdopen(os.dup(upload.fileno()), "rb")
    file.seek(0)
    return file


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
        _("Make the starter image"), request.user.pk, lambda progress: [gateway.engine().make_starter_image(progress)]
    )
    return redirect("images:task", task.id)


@require_safe
def task(request: HttpRequest, task_id: str) -> HttpResponse:
    """How far a task is; htmx asks again each second while it works."""
    context = {"task": tasks.find(task_id, request.user.pk)}
    return render(request, "images/_task.html" if request.htmx else "images/task.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, ref: str) -> HttpResponse:
    """Say what goes, then remove."""
    engine = gateway.engine()
    image = engine.image(ref)
    if request.method != "POST":
        return render(request, "images/_remove.html" if request.htmx else "images/remove.html", {"image": image})
    engine.remove_image(image.id)
    name = image.tags[0] if image.tags else image.short_id
    messages.success(request, _("Removed image %(name)s.") % {"name": name})
    return gateway.go(request, reverse("images:list"))
