"""Images: list, import, the starter image, remove."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console import gateway, jobs, navigation
from console.images.forms import ImportForm
from engine import Image


@require_safe
def show_list(request: HttpRequest) -> HttpResponse:
    """All images of this host."""
    context = {"images": gateway.engine().images()}
    return render(request, "images/_list.html" if request.htmx else "images/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def load(request: HttpRequest) -> HttpResponse:
    """Import a tar: `docker save`, OCI layout, or a plain root filesystem."""
    caller = gateway.caller(request.user)
    if request.method != "POST":
        given = {field: request.GET.get(field, "") for field in ("path", "name")}
        return render(request, "images/import.html", {"form": ImportForm(initial=given, caller=caller)})
    form = ImportForm(request.POST, request.FILES, caller=caller)
    if not form.is_valid():
        part = "images/_fields.html" if form.announced or request.htmx else "images/import.html"
        return render(request, part, {"form": form}, status=400)
    if form.announced:
        return HttpResponse(status=204)
    upload, path, name = form.cleaned_data["upload"], form.cleaned_data.get("path"), form.cleaned_data["name"]
    title = _("Import %(name)s") % {"name": upload.name if upload else path}
    again = f"{reverse('images:import')}?{urlencode({'path': path or '', 'name': name})}"
    given = {"path": str(path) if path else "", "name": name}
    record = jobs.begin(request.user, title, take_in, upload=upload, again=again, **given)
    return gateway.go(request, record.get_absolute_url())


@jobs.repeatable(resumes=True)  # a layer that is there already is not unpacked again, and nothing half made counts
def take_in(job: jobs.Job, *, path: str, name: str) -> jobs.Results:
    """Import what was uploaded, or what is at a path of this host."""
    if path:
        return _made(gateway.engine().load_image(Path(path), name=name, progress=job.step, caller=job.caller))
    with job.open_upload() as upload:
        return _made(gateway.engine().load_image(upload, name=name, progress=job.step, caller=job.caller))


def _made(images: list[Image]) -> jobs.Results:
    """What one does next with an image."""
    names = [image.tags[0] if image.tags else image.id for image in images]
    word = _("Create container from %(name)s")
    return [(word % {"name": name}, navigation.begin_with(name)) for name in names]


@require_POST
def starter(request: HttpRequest) -> HttpResponse:
    """Make the starter image from this host's own files."""
    return redirect(jobs.begin(request.user, _("Make the starter image"), make_starter))


@jobs.repeatable(resumes=True)
def make_starter(job: jobs.Job) -> jobs.Results:
    """The starter image."""
    return _made([gateway.engine().make_starter_image(job.step)])


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
