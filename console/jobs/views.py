"""Jobs: list, details with log, and what can be done about one. One's own; for admins everybody's."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from console import downloads, gateway
from console.jobs import running
from console.jobs.models import Record, Status
from console.text import whole
from engine import errors

PAGE = 50  # rows


@require_safe
def show_list(request: HttpRequest) -> HttpResponse:
    """Jobs, the newest first, a page of them; ``status``, ``q`` and ``mine`` narrow them down."""
    wish, text, mine = request.GET.get("status", ""), request.GET.get("q", "").strip(), request.GET.get("mine", "")
    found = Record.objects.seen_by(request.user).select_related("owner")
    if text:
        found = found.filter(title__icontains=text)
    if mine:
        found = found.filter(owner=request.user.pk)
    counts = dict(found.order_by().values_list("status").annotate(Count("pk")))
    status = wish if wish in Status.values else ""
    number = whole(request.GET.get("page", "")) or 1
    matching = counts.get(status, 0) if status else sum(counts.values())
    number = min(number, max(1, -(-matching // PAGE)))
    rows = (found.filter(status=status) if status else found)[(number - 1) * PAGE : number * PAGE]
    kept = {"q": text, "mine": mine}
    context = {
        "rows": [running.live(record) for record in rows],
        "chips": [("", _("All"), sum(counts.values()), urlencode(kept))]
        + [(s.value, s.label, counts.get(s.value, 0), urlencode(kept | {"status": s.value})) for s in Status],
        "q": text,
        "mine": mine,
        "status": status,
        "matching": matching,
        "first": (number - 1) * PAGE + 1,
        "last": min(number * PAGE, matching),
        "newer": number > 1 and urlencode(kept | {"status": status, "page": number - 1}),
        "older": number * PAGE < matching and urlencode(kept | {"status": status, "page": number + 1}),
        "everybody": request.user.is_superuser,
    }
    return render(request, "jobs/_list.html" if request.htmx else "jobs/list.html", context)


@require_safe
def details(request: HttpRequest, job_id: str) -> HttpResponse:
    """One job; its owner has seen how it ended then."""
    record = running.live(_find(request, job_id))
    news = not record.running and not record.seen and record.owner_id == request.user.pk
    if news:
        Record.objects.filter(pk=record.pk).update(seen=True)
    if request.htmx:
        response = render(request, "jobs/_head.html", {"job": record})
        if news:
            response["HX-Trigger"] = "wharfie:seen"  # the bell rang a moment ago
        return response
    lines, following = record.files.tail()
    return render(request, "jobs/details.html", {"job": record, "lines": lines, "following": following})


@require_safe
def show_log(request: HttpRequest, job_id: str) -> HttpResponse:
    """The log's lines from a byte on, as JSON: [ms, text] each, and the byte to ask for next."""
    after = request.GET.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) < 12):
        raise errors.InvalidRequest(_("There is no such place in a log"), hint=_("ask for it from 0 on"))
    lines, following = _find(request, job_id).files.lines(int(after))
    return JsonResponse({"lines": lines, "next": following})


@require_POST
def cancel(request: HttpRequest, job_id: str) -> HttpResponse:
    """Ask it to stop; what it left half done is undone by itself."""
    record = _find(request, job_id)
    running.cancel(record)
    return redirect(record)


@require_POST
def again(request: HttpRequest, job_id: str) -> HttpResponse:
    """Run it once more as it was."""
    record = _find(request, job_id)
    if not running.run_again(record):
        raise errors.WrongState(
            _("This job cannot be run again"), hint=_("it runs, or what it worked on is not here any more")
        )
    return redirect(record)


@require_POST
def forget(request: HttpRequest, job_id: str) -> HttpResponse:
    """Remove an ended job from the list, and the files that were kept for it."""
    record = _find(request, job_id)
    if record.running:
        raise errors.WrongState(_("This job is running"), hint=_("cancel it first"))
    record.files.delete()
    record.delete()
    messages.success(request, _("Removed %(title)s from the list.") % {"title": record.title})
    return gateway.go(request, reverse("jobs:list"))


@require_safe
def download(request: HttpRequest, job_id: str, name: str) -> HttpResponseBase:
    """A file that a job made for its owner."""
    record = _find(request, job_id)
    if name not in dict(record.outputs):
        raise errors.NotFound(_("There is no such file"), hint=_("run the job again"), subject=name)
    return downloads.file(record.files.output / name, name)


@require_safe
def frame(request: HttpRequest) -> HttpResponse:
    """What the frame of every page shows of jobs, alone."""
    return render(request, "shell/_jobs.html", {"again": True})


@require_POST
def all_seen(request: HttpRequest) -> HttpResponse:
    """Take the results off the bell."""
    Record.objects.filter(owner=request.user.pk, seen=False).exclude(status=Status.RUNNING).update(seen=True)
    if request.htmx:
        return render(request, "shell/_jobs.html", {"again": True})
    return redirect("jobs:list")


def _find(request: HttpRequest, job_id: str) -> Record:
    record = Record.objects.seen_by(request.user).select_related("owner").filter(pk=job_id).first()
    if record is None:
        raise errors.NotFound(_("There is no such job"), hint=_("it is long over, or somebody else's"), subject=job_id)
    return record
