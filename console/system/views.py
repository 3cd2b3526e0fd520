"""What this host can do, what is wrong, what fills the disk, and what the console had to say."""

from __future__ import annotations

import platform

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

import engine
from console import disk, gateway, onhost, ownlog
from console.system import backups
from engine import DiskUsage

LARGEST = 3


@require_safe
def report(request: HttpRequest) -> HttpResponse:
    """The engine's checks, the versions in use, and the directories; to admins also logs and backups."""
    found = gateway.engine().report()
    versions = [
        ("Wharfie", engine.__version__),
        ("Linux", platform.release()),
        ("Python", platform.python_version()),
        ("Django", django.get_version()),
    ]
    places = [
        ("WHARFIE_ROOT", settings.PATHS.root),
        ("WHARFIE_RUN", settings.PATHS.run),
        ("WHARFIE_LISTEN", settings.LISTEN),
    ]
    findings = gateway.engine().findings()
    counted = disk.counter.latest()
    context = {
        "report": found,
        "findings": findings,
        "wrong": [check for check in findings if not check.ok],
        "versions": versions,
        "places": places,
        "room": disk.room(),
        "usage": _by_kind(counted) if counted else [],
        "counted_at_ns": counted.taken_at_ns if counted else None,
        "counting": disk.counter.counts,
        "admin": request.user.is_superuser,
        "store": settings.PATHS.backups,
        "onhost": onhost.here(onhost.COMMANDS, settings.PATHS.root, settings.PATHS.run),
    }
    if request.user.is_superuser:
        context |= {"backups": backups.found(), "log": ownlog.tail()}
    return render(request, "system/report.html", context)


@require_POST
def count_again(request: HttpRequest) -> HttpResponse:
    """Begin another count of what fills the disk."""
    gateway.for_admins(request.user, _("To have the disk counted again is for admins only"))
    disk.counter.again()
    return redirect(reverse("system:report") + "#disk")


def _by_kind(usage: DiskUsage) -> list[tuple[str, int, list[tuple[str, int]]]]:
    """A kind of thing, its bytes, and which of its things are the largest."""
    names = {container.id: container.name for container in gateway.engine().containers()}
    written, logs = (
        {names[each]: n for each, n in of.items() if each in names} for of in (usage.containers, usage.logs)
    )
    kinds = (
        (_("Images"), {"": usage.images}, False),
        (_("Containers, what they wrote"), written, True),
        (_("Logs of containers"), logs, True),
        (_("Volumes"), usage.volumes, True),
        (_("Wharfie's own: databases, backups, uploads"), {"": usage.own}, False),
    )
    return [
        (word, sum(of.values()), sorted(of.items(), key=lambda item: -item[1])[:LARGEST] if named else [])
        for word, of, named in kinds
    ]
