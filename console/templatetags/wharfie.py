"""Filters and tags that say facts in words: sizes, times, states, ends."""

from __future__ import annotations

import functools
import stat
import time
from datetime import UTC, datetime
from html import escape
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from console import assets, endings, said, text
from engine import Container, Event, RestartPolicy, TreeSize

register = template.Library()

LOOKS = {"running": "ok", "paused": "warn", "created": "idle", "exited": "idle", "failed": "bad", "broken": "bad",
         "restarting": "busy", "starting": "busy", "healthy": "ok", "unhealthy": "bad"}  # fmt: skip


WORDS = {
    "running": gettext_lazy("Running"),
    "paused": gettext_lazy("Paused"),
    "restarting": gettext_lazy("Restarting"),
    "created": gettext_lazy("Created"),
    "exited": gettext_lazy("Stopped"),
    "failed": gettext_lazy("Failed"),
    "broken": gettext_lazy("Broken"),
    "starting": gettext_lazy("Starting up"),
    "healthy": gettext_lazy("Healthy"),
    "unhealthy": gettext_lazy("Unhealthy"),
}


@register.simple_tag
@functools.cache
def icon(name: str) -> SafeString:
    """A drawing from the sprite. It carries no meaning of its own: a word stands beside it or in its button's name."""
    from django.templatetags.static import static

    return format_html('<svg class="i" aria-hidden="true"><use href="{}#{}"></use></svg>', static("icons.svg"), name)


@register.simple_tag
def import_map() -> SafeString:
    """Where modules find each other; of our own files' names alone."""
    return mark_safe(assets.import_map())


register.filter("size", text.size)
register.filter("clean", text.clean)
register.filter("sentence", said.sentence)
register.filter("said", said.said)
register.filter("listed", said.listed)


@register.filter
def counted(size: TreeSize) -> str:
    """What was counted for who is about to remove it."""
    shown = text.size(size.bytes)
    return shown if size.whole else _("more than %(size)s") % {"size": shown}


@register.filter
def filemode(mode: int) -> str:
    """A mode with its file type as ls(1) has it."""
    return stat.filemode(mode)


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    s = max(0, int(seconds))
    if s < 60:
        return ngettext("%(n)d second", "%(n)d seconds", s) % {"n": s}
    if s < 3600:
        return ngettext("%(n)d minute", "%(n)d minutes", s // 60) % {"n": s // 60}
    if s < 86400:
        return ngettext("%(n)d hour", "%(n)d hours", s // 3600) % {"n": s // 3600}
    return ngettext("%(n)d day", "%(n)d days", s // 86400) % {"n": s // 86400}


@register.filter
def moment(time_ns: int | None, form: str = "ago") -> str | SafeString:
    """A time as how long ago (``ago``) or for how long (``for``), with the date on hover."""
    if not time_ns:
        return "–"
    when = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).isoformat(" ")[:19]
    words = span(time.time() - time_ns / 1e9)
    shown = words if form == "for" else _("%(time)s ago") % {"time": words}
    # By hand, not by format_html: there are a hundred on the list of containers.
    attributes = f'datetime="{when.replace(" ", "T")}+00:00" title="{when} UTC" data-tick="{escape(form)}"'
    return mark_safe(f"<time {attributes}>{escape(shown)}</time>")


@register.filter
def calendar(when: datetime) -> SafeString:
    """A date and time; the reader's own by `static/js/page.js`."""
    utc = when.astimezone(UTC)
    return format_html('<time datetime="{}" data-local>{} UTC</time>', utc.isoformat(), f"{utc:%Y-%m-%d %H:%M}")


def look(container: Container) -> str:
    """The state to show: the engine's, but an end that was no success counts as failed."""
    if container.state == "exited" and container.exit and container.exit.failed:
        return "failed"
    return str(container.state)


@register.simple_tag
def state(container: Container, stopping: bool = False) -> SafeString:
    """Shape, colour and word of a container's state."""
    if stopping and container.state.alive:
        return format_html('<span class="state busy">{}</span>', _("Stopping"))
    shown = look(container)
    if shown == "running" and container.health:
        shown = container.health.status
    return _mark(LOOKS[shown], str(WORDS[shown]))


@functools.lru_cache(len(LOOKS) * 8)  # in as many languages
def _mark(look: str, word: str) -> SafeString:
    return format_html('<span class="state {}">{}</span>', look, word)


@register.filter
def brief(container: Container) -> str | SafeString:
    """The line under the state: since when, or how it ended."""
    if container.pid is not None:
        return moment(container.started_at_ns, "for")
    if container.state == "broken":
        return said.said(container.broken)
    if not container.exit:
        return _("never started") if container.state == "created" else _("has just ended")
    return endings.short(container.exit)


@register.filter
def restart_words(policy: RestartPolicy) -> str:
    """A restart policy in words."""
    words = {
        "no": _("never by itself"),
        "on-failure": _("when it fails"),
        "always": _("always"),
        "unless-stopped": _("unless it was stopped"),
    }
    most = ngettext("at most %(most)d time", "at most %(most)d times", policy.most) % {"most": policy.most}
    return said.listed(f"{words[policy.mode]}; {most}") if policy.most else words[policy.mode]


@register.filter
def happened(event: Event) -> str:
    """What an event of the engine was, in two words."""
    sent = endings.signal_name(event.detail.get("signal") or 0)
    acts = {
        "create": _("created"),
        "start": _("started"),
        "die": _("ended"),
        "kill": _("was sent %(signal)s") % {"signal": sent},
        "restart": _("restarted"),
        "pause": _("paused"),
        "unpause": _("goes on"),
        "rename": _("has another name"),
        "update": _("has other limits or policy"),
        "commit": _("became an image"),
        "reveal": _("had the values of its variables shown"),
        "terminal": _("had a terminal opened in it"),
        "signal": _("had a process sent %(signal)s") % {"signal": sent},
        "upload": _("was given a file"),
        "mkdir": _("was given a directory"),
        "edit": _("had a file changed"),
        "rename_file": _("had a file renamed"),
        "remove_file": _("had a file removed"),
        "health_status": _("changed its health"),
        "oom": _("ran out of memory"),
        "remove": _("removed"),
        "load": _("added"),
        "tag": _("named"),
        "untag": _("lost a name"),
        "sign_in": _("signed in"),
        "promote": _("became an admin"),
        "demote": _("became a member"),
        "enable": _("was switched on"),
        "disable": _("was switched off"),
        "link": _("got a link for a new password"),
        "password": _("has a new password"),
        "add_factor": _("has another second factor"),
        "remove_factor": _("lost a second factor"),
        "make_token": _("made an API token"),
        "revoke_token": _("revoked an API token"),
        "backup": _("downloaded a backup"),
    }
    kinds = {"container": _("Container"), "image": _("Image"), "volume": _("Volume"), "account": _("Account")}
    words = {"kind": kinds.get(event.kind, event.kind), "act": acts.get(event.action, event.action)}
    return _("%(kind)s %(act)s") % words


@register.filter
def variable_names(env: tuple[str, ...]) -> list[str]:
    """Of ``NAME=value`` the names."""
    return [entry.partition("=")[0] for entry in env]


@register.filter
def argv(words: tuple[str, ...] | None) -> str:
    """A command as one would type it."""
    import shlex

    return shlex.join(words or ())


@register.simple_tag
def log_line(row: list[Any], chosen: str = "") -> SafeString:
    """A line of a log, as `console.loglines.wire` has it; `static/js/log.js` draws the same."""
    place, time_ms, stream, parts = row
    when = datetime.fromtimestamp(time_ms / 1000, UTC)
    shown = [(parts, "")] if isinstance(parts, str) else parts
    return format_html(
        '<li id="{}"{}><a href="?line={}#{}"><time datetime="{}">{}</time></a><b>{}</b><span>{}</span></li>',
        place,
        format_html(
            ' class="{}"', " ".join(filter(None, ["err" if stream == "e" else "", "chosen" if place == chosen else ""]))
        ),
        place,
        place,
        when.isoformat(timespec="milliseconds"),
        f"{when:%H:%M:%S}.{time_ms % 1000:03d}",
        "err" if stream == "e" else "out",
        format_html_join("", '<i class="{}">{}</i>', ((classes, text) for text, classes in shown))
        if not isinstance(parts, str)
        else parts,
    )
