"""The command palette: pages, what can be begun, containers, what can be done to them, images and volumes."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.views.decorators.http import require_safe

from console import gateway
from console.search.results import find


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """What fits ``q``: a list for the palette, a page where there is no JavaScript."""
    text = request.GET.get("q", "")[:200].strip()
    context = {"q": text, "results": find(text, gateway.engine(), request.user.is_superuser, _here(request))}
    return render(request, "search/_results.html" if request.htmx else "search/show.html", context)


def _here(request: HttpRequest) -> str:
    """The container whose page is open, or ""."""
    try:
        match = resolve(urlsplit(request.headers.get("HX-Current-URL", "")).path)
    except (Resolver404, ValueError):
        return ""
    return str(match.kwargs.get("ref", "")) if match.namespaces[:1] == ["containers"] else ""
