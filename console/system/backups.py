"""Backups: begin one, list, download, remove. For admins: each holds everything, passwords' hashes and keys too."""

from __future__ import annotations

import os
import re
import time
from typing import NamedTuple

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console import downloads, gateway, jobs
from console.accounts import audit
from console.said import said
from engine import errors

NAME = re.compile(r"wharfie-\d{8}T\d{6}Z\.tar")


class Backup(NamedTuple):
    """A whole one."""

    name: str
    size_bytes: int
    made_at_ns: int


def found() -> list[Backup]:
    """Those that are here, the newest first."""
    if not settings.PATHS.backups.is_dir():
        return []
    with os.scandir(settings.PATHS.backups) as entries:
        here = [(entry.name, entry.stat()) for entry in entries if NAME.fullmatch(entry.name)]
    return sorted((Backup(name, facts.st_size, facts.st_mtime_ns) for name, facts in here), reverse=True)


@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    """Make one, as a job."""
    _admins_only(request.user)
    wish = {part: request.POST.get(part) == "yes" for part in ("images", "volumes")}
    return redirect(jobs.begin(request.user, _("Back up everything"), save, **wish))


@jobs.repeatable(resumes=True)  # from its beginning: what is half written is gone
def save(job: jobs.Job, *, images: bool, volumes: bool) -> jobs.Results:
    """Write it elsewhere; under its name it is there when it is whole, and not before."""
    _admins_only(job.admitted())  # who asked may be one no more
    directory = settings.PATHS.backups
    directory.mkdir(mode=0o700, exist_ok=True)
    name = time.strftime("wharfie-%Y%m%dT%H%M%SZ.tar", time.gmtime())
    partial = job.scratch / name
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as out:
            told = gateway.engine().backup(out, images=images, volumes=volumes, progress=job.step)
            out.flush()
            os.fsync(out.fileno())
        partial.rename(directory / name)
    except OSError as error:
        raise errors.KernelError.from_os(error, _("Writing the backup"), hint=_("make room on the disk")) from error
    for note in told.notes:
        job.say(": ".join(map(said, note.split(": "))))
    return [(_("Download %(name)s") % {"name": name}, reverse("system:backup", args=[name])),
            (_("All backups"), f"{reverse('system:report')}#backups")]  # fmt: skip


@require_safe
def download(request: HttpRequest, name: str) -> HttpResponseBase:
    """All of one."""
    _admins_only(request.user)
    place = settings.PATHS.backups / _known(name).name
    audit.tell("backup", request.user)
    return downloads.file(place, name)


@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, name: str) -> HttpResponse:
    """Say what goes, then delete it."""
    _admins_only(request.user)
    backup = _known(name)
    if request.method != "POST":
        part = "system/_remove.html" if request.htmx else "system/remove.html"
        return render(request, part, {"backup": backup})
    (settings.PATHS.backups / backup.name).unlink(missing_ok=True)
    messages.success(request, _("Removed the backup %(name)s.") % {"name": name})
    return gateway.go(request, f"{reverse('system:report')}#backups")


def _known(name: str) -> Backup:
    for backup in found():
        if backup.name == name:
            return backup
    raise errors.NotFound(_("There is no such backup"), hint=_("it may be removed already"), subject=name)


def _admins_only(user: AbstractUser | AnonymousUser) -> None:
    gateway.for_admins(user, _("Backups are for admins only"))
