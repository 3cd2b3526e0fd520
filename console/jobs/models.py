"""What is remembered of a job. Whether its worker lives is not: the kernel knows, see `console.jobs.files`."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from console.jobs.files import Files

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser


def new_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_hex(8)


class Status(models.TextChoices):
    """Where a job is."""

    RUNNING = "running", _("Running")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    INTERRUPTED = "interrupted", _("Interrupted")


class Records(models.QuerySet["Record"]):
    """Jobs, for whoever asks."""

    def seen_by(self, user: AbstractUser | AnonymousUser) -> Records:
        """Those that this person may look at: their own, for admins all."""
        return self if user.is_active and user.is_superuser else self.filter(owner=user.pk)


class Record(models.Model):
    """One job."""

    id = models.CharField(primary_key=True, max_length=16, default=new_id, editable=False)
    title = models.CharField(max_length=300)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.RUNNING)
    kind = models.CharField(max_length=200, blank=True)  # module:function of what can be repeated
    arguments = models.JSONField(default=dict)
    upload_name = models.CharField(max_length=300, blank=True)  # as the file was called where it came from
    language = models.CharField(max_length=16, default="en")
    again = models.CharField(max_length=2000, blank=True)  # a form from which to try once more
    attempts = models.PositiveSmallIntegerField(default=1)
    step = models.CharField(max_length=300, blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)  # 0: nobody knows
    unit = models.CharField(max_length=40, blank=True)  # "bytes", or a word
    cancel_asked = models.BooleanField(default=False)
    error = models.TextField(blank=True)
    hint = models.TextField(blank=True)
    results = models.JSONField(default=list)  # [words, address]
    seen = models.BooleanField(default=False)  # its end, by its owner
    started_at_ns = models.BigIntegerField(default=time.time_ns)
    ended_at_ns = models.BigIntegerField(null=True)

    objects = Records.as_manager()

    class Meta:
        """Lists are of the newest; the frame of every page asks for one's own."""

        ordering = ("-started_at_ns",)
        indexes = (
            models.Index(fields=["-started_at_ns"], name="jobs_newest"),
            models.Index(fields=["owner", "status", "seen"], name="jobs_owner"),
        )

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Its page; ``redirect(record)`` goes there."""
        return reverse("jobs:details", args=[self.id])

    @property
    def files(self) -> Files:
        """What lies on disk beside it."""
        return Files(settings.PATHS.jobs / self.id)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status == Status.RUNNING

    @property
    def inputs_there(self) -> bool:
        """Whether it could begin again as it was."""
        return bool(self.kind) and (not self.upload_name or self.files.upload.exists())

    @property
    def outputs(self) -> list[tuple[str, int]]:
        """Names and bytes of the files to download."""
        return self.files.outputs()

    def figures(self) -> dict[str, Any]:
        """Its progress, for a page that shows it."""
        return {"step": self.step, "done": self.done, "total": self.total, "unit": self.unit}
