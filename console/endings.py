"""Why a container stopped, in words: what happened, what that means, who wanted it, and what to do next."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from console import text
from console.said import ended, joined, listed
from engine import Container, EndedBy, Event, ExitRecord

LOOP = 3  # restarts by its policy, after runs shorter than this:
SHORT_S = 10.0
ASKED = " was asked for"
SHELLS = ("sh", "bash", "ash", "dash", "zsh")
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS)
Words = str | Promise

MORE_MEMORY = ("containers:config", gettext_lazy("Give it more memory"))
OTHER_COMMAND = ("containers:recreate", gettext_lazy("Correct the command"))
LAST_LINES = ("containers:details", gettext_lazy("Read its last lines"))


class Ending(NamedTuple):
    """Why the last run ended."""

    said: str
    why: list[str]
    act: tuple[str, Words] | None  # the address's name, and what is done there


def explain(container: Container, kills: Sequence[Event] = ()) -> Ending | None:
    """The last end of a container that is not just running; ``kills`` are the signals that were asked for, the newest
    first. None when it has never ended."""
    end = container.exit
    if end is None:
        return None
    meaning, act = _meaning(container, end)
    why = [*meaning, *_who(end, kills), *_again(container, end)]
    return Ending(said(end, container.spec.limits.memory_bytes), why, act)


def said(end: ExitRecord, limit_bytes: int | None) -> str:
    """What happened, in a sentence or two."""
    if end.oom_killed:
        limit_bytes = end.oom_limit_bytes or limit_bytes
        words = _("The kernel killed it: out of memory.")
        if limit_bytes:
            words = _("The kernel killed it: out of memory at its limit of %(limit)s.") % {
                "limit": text.size(limit_bytes)
            }
    elif end.code is None:
        words = _("It ended, and nobody could learn its exit code.")
    elif end.signal:
        words = _("Signal %(signal)s ended it; exit code %(code)d.") % {
            "signal": signal_name(end.signal), "code": end.code,
        }  # fmt: skip
    elif end.code == 0:
        words = _("It ended by itself, without an error.")
    elif end.code > 128 and signal_name(end.code - 128):
        words = _("It ended with exit code %(code)d, as after signal %(signal)s.") % {
            "code": end.code,
            "signal": signal_name(end.code - 128),
        }
    else:
        words = _("It ended by itself with exit code %(code)d.") % {"code": end.code}
    reasons = [each for each in end.reason.split("; ") if not each.endswith(ASKED)]  # who has asked is said below
    return joined([words, ended(listed("; ".join(reasons)))]) if reasons and reasons[0] else words


def short(end: ExitRecord) -> str:
    """The same in a few words, for a list."""
    if end.oom_killed:
        return _("out of memory")
    if end.code is None:
        return _("exit code unknown")
    if end.ended_by is EndedBy.ENGINE:
        return _("was stopped, exit code %(code)d") % {"code": end.code}
    known = {126: _("exit code 126: cannot be run"), 127: _("exit code 127: not found")}
    if end.code in known and not end.signal:
        return known[end.code]
    if end.signal:
        return _("%(signal)s, exit code %(code)d") % {"signal": signal_name(end.signal), "code": end.code}
    return _("exit code %(code)d") % {"code": end.code}


def signal_name(number: int) -> str:
    """Its name, or its number where it has none; "" when it is no signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number) if 1 <= number <= 64 else ""


def _is_shell_alone(container: Container) -> bool:
    spec = container.spec
    return container.argv[0].rpartition("/")[2] in SHELLS and not (container.argv[1:] or spec.tty or spec.stdin)


def _meaning(container: Container, end: ExitRecord) -> tuple[list[str], tuple[str, Words] | None]:
    number = end.signal or (end.code - 128 if end.code is not None and end.code > 128 else 0)
    if end.oom_killed and end.oom_limit_bytes is None and end.ended_by is EndedBy.OOM:
        return [_("It was not its own limit: the memory of this host ran out.")], None
    if end.oom_killed:
        return [_("It wanted more memory than it may have.")], MORE_MEMORY
    if end.code == 126:
        return [
            _("126 says that the command is there and cannot be run: it is no program, or not executable.")
        ], OTHER_COMMAND
    if end.code == 127:
        return [_("127 says that the command, or one that it calls, was not found.")], OTHER_COMMAND
    if number in CRASHES:
        crash = _("%(signal)s is what the kernel sends to a program that made a mistake: it crashed.")
        return [crash % {"signal": signal_name(number)}], LAST_LINES
    if end.code == 0 and _is_shell_alone(container):
        alone = _("A shell that has neither a terminal nor open input ends at once: it has nothing to do.")
        return [alone], OTHER_COMMAND
    if end.code and end.ended_by is EndedBy.ITSELF:
        return [_("The exit code's meaning depends on the program; its last lines often say why.")], LAST_LINES
    return [], None


def _who(end: ExitRecord, kills: Sequence[Event]) -> list[str]:
    if end.ended_by is EndedBy.STRANGER and end.signal not in CRASHES:
        return [
            _("Nobody asked Wharfie for that: the signal came from a process of its own, or from root of this host.")
        ]
    if end.ended_by is not EndedBy.ENGINE or not kills:
        return []
    last = asked = kills[0]
    words = _("%(who)s asked for it, with %(signal)s.")
    if last.detail.get("signal") == signal.SIGKILL == end.signal and len(kills) > 1:  # what a stop comes to
        asked = kills[1]
        words = _("%(who)s asked for it, with %(signal)s. It had not heeded that after %(seconds).0f s: it was killed.")
    told = {
        "who": asked.detail.get("by") or _("Somebody at the command line"),
        "signal": signal_name(asked.detail.get("signal") or 0),
        "seconds": (last.time_ns - asked.time_ns) / 1e9,
    }
    return [words % told]


def _again(container: Container, end: ExitRecord) -> list[str]:
    times = max(container.restarts, end.restarts)
    if times < LOOP or end.ended_by is EndedBy.ENGINE:
        return []
    words = ngettext(
        "Its policy has started it again %(n)d time.", "Its policy has started it again %(n)d times.", times
    ) % {"n": times}
    lasted_s = (end.finished_at_ns - (container.started_at_ns or end.finished_at_ns)) / 1e9
    if 0 <= lasted_s < SHORT_S:
        words += " " + _(
            "It ends soon after each start: a restart loop, which ends when the cause does or it is stopped."
        )
    return [words]
