"""A filter that says in words what more is known of an event."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from console import text
from engine import Event

register = template.Library()


@register.filter
def event_detail(event: Event) -> str:
    """How a container ended, what memory ran out for, what it was called before, which of its files or processes it is
    about, that nobody has started it; "" when there is nothing to add."""
    detail = event.detail
    if event.action == "start" and detail.get("again"):
        return _("by its restart policy")
    if event.action == "die":
        if detail.get("oom_killed"):
            return _("out of memory")
        if detail.get("code") is None:
            return _("exit code unknown")
        return _("exit code %(code)s") % {"code": detail["code"]}
    if event.action == "oom":
        killed = int(detail.get("killed") or 0)
        return ngettext("%(n)d process in it was killed", "%(n)d processes in it were killed", killed) % {"n": killed}
    if event.action == "rename" and detail.get("before"):
        return _("was called %(name)s") % {"name": text.clean(str(detail["before"]))}
    if detail.get("path"):
        return text.shown(str(detail["path"]))
    if event.action == "signal":
        return _("pid %(pid)s on the host") % {"pid": detail.get("pid")}
    if event.action == "health_status":
        return _("Healthy") if detail.get("status") == "healthy" else _("Unhealthy")
    return ""
