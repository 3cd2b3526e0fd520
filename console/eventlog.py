"""A page of what happened: for all of it, and for one container."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from console import gateway
from console.text import LARGEST, whole
from engine import EventFilter

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser

PAGE = 100  # rows
KINDS = (
    ("", _("Everything")),
    ("container", _("Containers")),
    ("image", _("Images")),
    ("volume", _("Volumes")),
    ("account", _("Accounts")),
)
FOR_ADMINS = "account"  # who comes and goes, and what they may, is no member's business


def hidden_from(user: AbstractUser | AnonymousUser) -> str:
    """The kind of which somebody sees no event, or ""."""
    return "" if user.is_superuser else FOR_ADMINS


def page(request: HttpRequest, object_id: str = "") -> dict[str, Any]:
    """What a template shows; ``kind``, ``name``, ``by``, ``from`` and ``until`` narrow it down, ``before`` pages."""
    asked = {name: request.GET.get(name, "").strip() for name in ("kind", "name", "by", "from", "until")}
    hidden = hidden_from(request.user)
    kinds = [each for each in KINDS if not hidden or each[0] != hidden]
    if asked["kind"] not in dict(kinds):
        asked["kind"] = ""
    wish = EventFilter(
        without=hidden,
        before=whole(request.GET.get("before", ""), LARGEST) or 0,
        kind="container" if object_id else asked["kind"],
        object_id=object_id,
        name="" if object_id else asked["name"],
        by=asked["by"],
        since_ns=_time_ns(asked["from"]),
        until_ns=_time_ns(asked["until"]),
    )
    found = gateway.engine().find_events(wish, PAGE + 1)
    given = {name: value for name, value in asked.items() if value}
    return {
        "events": found[:PAGE],
        "older": urlencode(given | {"before": found[PAGE - 1].seq}) if len(found) > PAGE else "",
        "newest": urlencode(given) if wish.before else "",
        "is_newest": not wish.before,
        "filtered": bool(given),
        "asked": asked,
        "chips": [(value, word, urlencode(given | {"kind": value})) for value, word in kinds],
    }


def _time_ns(text: str) -> int:
    """Of a field of a form, which has no zone: it is UTC, as the page says; 0 for what is no time."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return 0
    time_ns = int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1e9)
    return min(max(time_ns, 1), 2**62)  # as far as a database counts
