"""Volumes: list, create, remove."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from console import gateway
from console.volumes.forms import CreateForm
from engine import errors


@require_http_methods(["GET", "HEAD", "POST"])
def show_list(request: HttpRequest) -> HttpResponse:
    """All volumes; a POST makes one."""
    engine = gateway.engine()
    form = CreateForm(request.POST or None)
    status = 200
    if request.method == "POST":
        try:
            if form.is_valid():
                volume = engine.create_volume(form.cleaned_data["name"])
                messages.success(request, _("Created volume %(name)s.") % {"name": volume.name})
                return redirect("volumes:list")
            status = 400
        except errors.EngineError as error:
            gateway.blame(form, error)
            status = gateway.status_of(error)
    name = "volumes/_list.html" if request.htmx else "volumes/list.html"
    return render(request, name, {"volumes": engine.volumes(), "form": form}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, name: str) -> HttpResponse:
    """Say what goes, then remove; the typed name guards data that nobody can bring back."""
    engine = gateway.engine()
    volume = next((v for v in engine.volumes() if v.name == name), None)
    if volume is None:
        raise errors.NotFound(
            _("There is no volume %(name)s") % {"name": name}, hint=_("it may be removed already"), subject=name
        )
    if request.method != "POST":
        page = "volumes/_remove.html" if request.htmx else "volumes/remove.html"
        return render(request, page, {"volume": volume, "size": engine.size(volumes=[volume.name])})
    if request.POST.get("typed") != volume.name:
        raise errors.InvalidRequest(
            _("The typed name is not %(name)s") % {"name": name}, hint=_("type the volume's name")
        )
    engine.remove_volume(volume.name)
    messages.success(request, _("Removed volume %(name)s.") % {"name": volume.name})
    return gateway.go(request, reverse("volumes:list"))
