"""What work is, and what it knows of its job; see `console.jobs`."""

from __future__ import annotations

import importlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeVar

from django.db import DatabaseError
from django.dispatch import Signal
from django.utils.translation import gettext as _

from console import gateway
from console.jobs.models import Record
from console.said import said
from console.text import clean
from engine import errors

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser

    from engine import Caller

log = logging.getLogger(__name__)

Results: TypeAlias = list[tuple[str, str]] | None
Work: TypeAlias = Callable[..., Results]
F = TypeVar("F", bound=Work)

SAVED_S = 1.0  # how old the progress on disk may be

news = Signal()  # record, changed: a status is new, not only the progress. Sent from the jobs' threads.


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
    def caller(self) -> Caller:
        """Who asks, for the engine, with the rights of this moment."""
        return gateway.caller(self.admitted())

    def admitted(self) -> AbstractUser:
        """Who began it; Denied when that account is closed by now."""
        if self.owner is None or not self.owner.is_active:
            raise errors.Denied(
                _("The account of whoever began this is closed"), hint=_("begin it again as somebody else")
            )
        return self.owner

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancel.is_set()

    def check(self) -> None:
        """Cancelled, when it was asked to stop."""
        if self.cancelled:
            raise Cancelled

    def step(self, text: str) -> None:
        """Say what it does now, as "Layer 2 of 5: 128 MiB"; what stands before the colon goes to the log, once. The
        engine's words are said in the language of who began the job."""
        head, colon, figures = text.partition(": ")
        head = said(head)
        self.record.step = clean(head + colon + figures)[:300]
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

    @property
    def scratch(self) -> Path:
        """A directory for what is half made, on the store's disk: rename what is whole from there. Gone at the end."""
        self._files.scratch.mkdir(mode=0o700, exist_ok=True)
        return self._files.scratch

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


def named(kind: str) -> Work | None:
    """The marked function of that name; None when there is none, as after an update."""
    module, _colon, name = kind.partition(":")
    try:
        work = getattr(importlib.import_module(module), name) if module.startswith("console.") else None
    except (ImportError, AttributeError):
        return None
    return work if hasattr(work, "resumes") else None
