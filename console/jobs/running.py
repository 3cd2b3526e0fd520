"""The work of jobs: threads of this process, one each. What to write here: see `console.jobs`.

begin ── record in console.db, directory with lock, log, upload ── thread ── the record's end
                                                                     │
                                 progress in memory, on disk each second, to open pages at once
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from django.core.files.uploadedfile import UploadedFile
from django.db import connection
from django.utils import translation
from django.utils.translation import gettext as _

from console.jobs.models import Record, Status
from console.jobs.work import Cancelled, Job, Work, named, news
from console.said import said
from console.text import clean
from engine import acting, errors

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser

log = logging.getLogger(__name__)

MOST_AT_ONCE = 20  # jobs of one person
MOST_ATTEMPTS = 2  # what took the console down twice does not begin by itself once more
MOST_KEPT = 300  # ended jobs; the oldest go first

_running: dict[str, Job] = {}
_lock = threading.Lock()


def begin(
    user: AbstractUser | AnonymousUser,
    title: str,
    work: Work,
    *,
    upload: UploadedFile | None = None,
    again: str = "",
    **arguments: Any,
) -> Record:
    """Run ``work(job, **arguments)`` in a thread of its own and return at once. Busy when this person has too many."""
    if Record.objects.filter(owner=user.pk, status=Status.RUNNING).count() >= MOST_AT_ONCE:
        raise errors.Busy(
            _("%(n)d of your jobs are running") % {"n": MOST_AT_ONCE}, hint=_("wait for one, or cancel one")
        )
    marked = hasattr(work, "resumes")
    record = Record(
        title=clean(title)[:300],
        owner_id=user.pk,
        kind=f"{work.__module__}:{work.__qualname__}" if marked else "",
        arguments=arguments if marked else {},
        upload_name=(upload.name or "upload") if upload else "",
        language=translation.get_language() or "en",
        again=again,
    )
    held = record.files.hold()
    assert held is not None  # nobody else knows its id
    try:
        if upload:
            record.files.keep(upload)
        record.save(force_insert=True)
    except BaseException:
        os.close(held)
        record.files.delete()
        raise
    _forget_old()
    return _start(record, work, arguments, held)


def run_again(record: Record) -> bool:
    """Begin an ended job once more as it was; False when it is running, or cannot be."""
    work = named(record.kind) if record.inputs_there else None
    held = record.files.hold() if work else None
    if work is None or held is None:
        return False
    fresh = {"status": Status.RUNNING, "attempts": record.attempts + 1, "started_at_ns": time.time_ns()}
    fresh |= {"ended_at_ns": None, "seen": False, "cancel_asked": False, "error": "", "hint": "", "results": []}
    fresh |= {"step": "", "done": 0, "total": 0}
    Record.objects.filter(pk=record.pk).update(**fresh)
    record.refresh_from_db()
    record.files.say(_("Begun again"))
    _start(record, work, record.arguments, held)
    return True


def cancel(record: Record) -> None:
    """Ask a job to stop, wherever it runs."""
    Record.objects.filter(pk=record.pk, status=Status.RUNNING).update(cancel_asked=True)
    if job := _running.get(record.pk):
        job.cancel()
    news.send(Job, record=record, changed=True)


def live(record: Record) -> Record:
    """The record with the progress of this moment, where this process works on it."""
    if record.running and (job := _running.get(record.pk)):
        for name, value in job.record.figures().items():
            setattr(record, name, value)
    return record


def at_work() -> list[Record]:
    """What this process works on, with the progress of this moment."""
    return [job.record for job in list(_running.values())]


def finished(record: Record, timeout_s: float = 60) -> Record:
    """Wait for a job's end, and read it."""
    with _lock:
        thread = _threads.get(record.pk)
    if thread:
        thread.join(timeout_s)
    record.refresh_from_db()
    return record


def seen(record: Record) -> None:
    """Whoever began it knows how it ended: it is no news."""
    Record.objects.filter(pk=record.pk).update(seen=True)


def recover() -> None:
    """When the console starts: what lost its worker begins again where it may, or is said to be interrupted."""
    for record in Record.objects.filter(status=Status.RUNNING):
        held = record.files.hold()
        if held is None:  # another console on the same store works on it
            continue
        os.close(held)
        record.files.drop_scratch()
        work = named(record.kind) if record.inputs_there and not record.cancel_asked else None
        if getattr(work, "resumes", False) and record.attempts < MOST_ATTEMPTS and run_again(record):
            continue
        with translation.override(record.language):
            record.files.say(_("The console ended while this was running"))
        status = Status.CANCELLED if record.cancel_asked else Status.INTERRUPTED
        if status == Status.CANCELLED:
            record.files.drop_upload()
        Record.objects.filter(pk=record.pk).update(status=status, ended_at_ns=time.time_ns(), seen=False)


_threads: dict[str, threading.Thread] = {}


def _start(record: Record, work: Work, arguments: dict[str, Any], held: int) -> Record:
    job = Job(Record.objects.select_related("owner").get(pk=record.pk))
    thread = threading.Thread(target=_run, args=(job, work, arguments, held), name=f"job-{record.pk}", daemon=True)
    with _lock:
        _running[record.pk] = job
        _threads[record.pk] = thread
    thread.start()
    return record


def _run(job: Job, work: Work, arguments: dict[str, Any], held: int) -> None:
    record = job.record
    news.send(Job, record=record, changed=True)
    try:
        name = record.owner.get_username() if record.owner else ""
        with translation.override(record.language), acting(name):
            end = _end_of(job, work, arguments)
            if end["status"] != Status.DONE:
                status, why = Status(end["status"]).label, said(end.get("error") or end.get("hint") or "")
                record.files.say(_("%(status)s: %(why)s") % {"status": status, "why": why} if why else str(status))
        record.files.drop_upload()
        record.files.drop_scratch()
        end |= record.figures() | {"ended_at_ns": time.time_ns()}
        for name, value in end.items():
            setattr(record, name, value)
        Record.objects.filter(pk=record.pk).update(**end)
    except Exception:  # its record says that it runs; the next start of the console sees that it does not
        log.exception("the end of job %s is not on record", record.pk)
    finally:
        with _lock:
            _running.pop(record.pk, None)
            _threads.pop(record.pk, None)
        os.close(held)
        connection.close()
        news.send(Job, record=record, changed=True)


def _end_of(job: Job, work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        job.admitted()
        return {"status": Status.DONE, "results": [[str(word), url] for word, url in work(job, **arguments) or ()]}
    except Cancelled:
        return {"status": Status.CANCELLED}
    except errors.EngineError as error:
        return {"status": Status.FAILED, "error": error.message, "hint": error.hint}
    except Exception:
        log.exception("job %r", job.record.title)
        return {"status": Status.FAILED, "error": _("Wharfie failed here"), "hint": _("the console's log says why")}


def _forget_old() -> None:
    """Records and files of jobs that ended long ago."""
    ended = Record.objects.exclude(status=Status.RUNNING)
    for record in ended[MOST_KEPT:]:
        record.files.delete()
        record.delete()
