"""Filters that say in words where a job is."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from console import text
from console.jobs.models import Record
from console.templatetags.wharfie import span

register = template.Library()

LOOKS = {"running": "busy", "done": "ok", "failed": "bad", "cancelled": "idle", "interrupted": "warn"}


@register.filter
def job_state(job: Record) -> SafeString:
    """Shape, colour and word."""
    word = _("Cancelling") if job.running and job.cancel_asked else job.get_status_display()
    return format_html('<span class="state {}">{}</span>', LOOKS[job.status], word)


@register.filter
def job_figures(job: Record) -> str:
    """How far it is: 3 / 7 layers, 12 MiB / 80 MiB."""
    if not job.done and not job.total:
        return ""
    done, total = (text.size(job.done), text.size(job.total)) if job.unit == "bytes" else (job.done, job.total)
    unit = "" if job.unit == "bytes" else job.unit
    return f"{done} / {total} {unit}".strip() if job.total else f"{done} {unit}".strip()


@register.filter
def job_share(job: Record) -> float:
    """From 0 to 1."""
    return min(1.0, job.done / job.total) if job.total else 0.0


@register.filter
def job_took(job: Record) -> str:
    """Its length."""
    return span(((job.ended_at_ns or time.time_ns()) - job.started_at_ns) / 1e9)


@register.filter
def clock(time_ms: int) -> SafeString:
    """The time of a line of a log."""
    when = datetime.fromtimestamp(time_ms / 1000, UTC)
    return format_html(
        '<time datetime="{}" title="{}" data-local="clock">{}</time>', when.isoformat("T", "milliseconds"),
        when.strftime("%Y-%m-%d %H:%M:%S UTC"), when.strftime("%H:%M:%S"),
    )  # fmt: skip
