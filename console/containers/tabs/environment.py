"""The variables of a container. Their values may be secrets: pages have names, and who asks for values is on record."""

from __future__ import annotations

import dataclasses

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from console import gateway
from console.containers import tabs
from engine import ContainerSpec


def without_values(spec: ContainerSpec) -> ContainerSpec:
    """The same with variables that have no value: `docker run` and compose take that from where they are run."""
    return dataclasses.replace(spec, env=tuple(entry.partition("=")[0] for entry in spec.env))


@require_POST
def reveal(request: HttpRequest, ref: str) -> HttpResponse:
    """With their values, for who may be in the container: there they are to be had anyway."""
    container = gateway.engine().inspect(ref)
    values = gateway.engine().environment(container.id, caller=gateway.caller(request.user))
    if request.htmx:
        return render(request, "containers/tabs/_environment.html", {"container": container, "values": values})
    return tabs.show(request, container, "overview", {"values": values})
