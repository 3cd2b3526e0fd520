"""The work of jobs: threads of this process, one each. What to write here: see `console.jobs`.

begin ── record in console.db, directory with lock, log, upload ── thread ── the record's end
                                                                     │
                                 progress in memory, on disk each second, to open pages at once
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeVar

from django.core.files.uploadedfile import UploadedFile
from django.db import DatabaseError, connection
from django.dispatch import Signal
from django.utils import translation
from django.utils.translation import gettext as _

from console.jobs.models import Record, Status
from console.text import clean
from engine import errors

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser

log = logging.getLogger(__name__)

Results: TypeAlias = list[tuple[str, str]] | None
Work: TypeAlias = Callable[..., Results]
F = TypeVar("F", bound=Work)

SAVED_S = 1.0  # how old the progress on disk may be
MOST_AT_ONCE = 20  # jobs of one person
MOST_ATTEMPTS = 2  # what took the console down twice does not begin by itself once more
MOST_KEPT = 300  # ended jobs; the oldest go first

news = Signal()  # record, changed: a status is new, not only the progress. Sent from the jobs' threads.

_running: dict[str, Job] = {}
_lock = threading.Lock()


class Cancelled(Exception):
    """Somebody does not want it any more. Let it pass."""


class Job:
    """What work knows of its job, and says to whoever watches. For one thread, but for `cancelled`."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._files = record.files
        self._cancel = threading.Event()
        self._saved_s = 0.0
        self._logged = ""

    @property
    def owner(self) -> AbstractUser | None:
        """Who began it; None when that account was removed."""
        return self.record.owner

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancel.is_set()

    def check(self) -> None:
        """Cancelled, when it was asked to stop."""
        if self.cancelled:
            raise Cancelled

    def step(self, text: str) -> None:
        """Say what it does now, as "Layer 2 of 5: 128 MiB"; what stands before the colon goes to the log, once."""
        self.record.step = clean(text)[:300]
        head = text.partition(": ")[0]
        if head != self._logged:
            self._logged = head
            self._files.say(head)
        self._tell()

    def progress(self, done: int, total: int = 0, unit: str = "") -> None:
        """Say how far it is: ``done`` of ``total`` (0: nobody knows); the unit is "bytes", or a word for a page."""
        self.record.done, self.record.total, self.record.unit = done, total, unit[:40]
        self._tell()

    def say(self, line: str) -> None:
        """One line for the log."""
        self._files.say(line)
        news.send(Job, record=self.record, changed=False)

    def open_upload(self) -> BinaryIO:
        """The uploaded file, called what it was called where it came from. Close it."""
        path = self._files.upload
        return open(self.record.upload_name, "rb", opener=lambda _name, flags: os.open(path, flags))

    @property
    def output(self) -> Path:
        """A directory for files that the owner is to download; they stay as long as the job is remembered."""
        self._files.output.mkdir(mode=0o700, exist_ok=True)
        return self._files.output

    def cancel(self) -> None:
        """Ask it to stop; from any thread."""
        self._cancel.set()

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._saved_s >= SAVED_S:
            self._saved_s = now
            self._save()
        news.send(Job, record=self.record, changed=False)
        self.check()

    def _save(self) -> None:
        """Progress that survives this process; and somebody may have cancelled in another one."""
        try:
            row = Record.objects.filter(pk=self.record.pk)
            row.update(**self.record.figures())
            if row.filter(cancel_asked=True).exists():
                self.cancel()
        except DatabaseError as error:  # a full or busy disk must not end the work
            log.warning("job %s: progress is not saved: %s", self.record.pk, error)


def repeatable(*, resumes: bool = False) -> Callable[[F], F]:
    """Mark a module's function as work that can be run again from its arguments; ``resumes``: by itself, when the
    process that worked on it ended. Then it must come to the same end when it is run a second time."""

    def mark(work: F) -> F:
        work.resumes = resumes  # type: ignore[attr-defined]
        return work

    return mark


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
        title=title[:300],
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
    work = _work_of(record.kind) if record.inputs_there else None
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


def finished(record: Record, timeout_s: float = 60) -> Record:
    """Wait for a job's end, and read it."""
    with _lock:
        thread = _threads.get(record.pk)
    if thread:
        thread.join(timeout_s)
    record.refresh_from_db()
    return record


def recover() -> None:
    """When the console starts: what lost its worker begins again where it may, or is said to be interrupted."""
    for record in Record.objects.filter(status=Status.RUNNING):
        held = record.files.hold()
        if held is None:  # another console on the same store works on it
            continue
        os.close(held)
        work = _work_of(record.kind) if record.inputs_there and not record.cancel_asked else None
        if getattr(work, "resumes", False) and record.attempts < MOST_ATTEMPTS and run_again(record):
            continue
        with translation.override(record.language):
            record.files.say(_("The console ended while this was running"))
        status = Status.CANCELLED if record.cancel_asked else Status.INTERRUPTED
        if status == Status.CANCELLED:
            record.files.drop_upload()
        Record.objects.filter(pk=record.pk).update(status=status, ended_at_ns=time.time_ns(), seen=False)


def _work_of(kind: str) -> Work | None:
    """The marked function of that name; None when there is none, as after an update."""
    module, _colon, name = kind.partition(":")
    try:
        work = getattr(importlib.import_module(module), name) if module.startswith("console.") else None
    except (ImportError, AttributeError):
        return None
    return work if hasattr(work, "resumes") else None


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
        with translation.override(record.language):
            end = _end_of(job, work, arguments)
        if end["status"] != Status.DONE:
            record.files.say(str(Status(end["status"]).label) + (f": {end['error']}" if end.get("error") else ""))
        record.files.drop_upload()
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
