"""A container's processes, live, and signals to one of them."""

from __future__ import annotations

import re
from signal import Signals

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from console import gateway
from console.containers import tabs
from console.usage import MOST, UsageRates
from engine import errors

SIGNALS = (
    ("TERM", gettext_lazy("TERM: asks it to end")),
    ("KILL", gettext_lazy("KILL: ends it at once")),
    ("HUP", gettext_lazy("HUP: mostly to read its settings again")),
    ("INT", gettext_lazy("INT: as Ctrl-C does")),
    ("USR1", gettext_lazy("USR1: what its program makes of it")),
    ("STOP", gettext_lazy("STOP: stands still")),
    ("CONT", gettext_lazy("CONT: goes on")),
)
ALWAYS = ("KILL", "STOP", "CONT")  # heeded by a first process too
_KEY = re.compile(r"([1-9][0-9]{0,9}):([0-9]{1,20})")


def states() -> dict[str, str]:
    """The words for the letters of proc_pid_stat(5)."""
    return {
        "R": _("running"),
        "S": _("sleeping"),
        "D": _("waits for a disk"),
        "T": _("stopped"),
        "t": _("traced"),
        "Z": _("zombie"),
        "X": _("dead"),
        "I": _("idle"),
    }


@require_safe
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """The processes of this moment, for who has no script; the page's module keeps them up to date."""
    engine = gateway.engine()
    container = engine.inspect(ref)
    try:
        usage = UsageRates().update(engine.processes(container.id, caller=gateway.caller(request.user)))
    except errors.EngineError as error:
        return tabs.show(request, container, "processes", {"error": error}, status=gateway.status_of(error))
    words = states()
    context = {
        "rows": [(each, words.get(each.process.state, each.process.state)) for each in usage[:MOST]],
        "total": len(usage),
        "most": MOST,
        "signals": SIGNALS,
        "states": words,
    }
    return tabs.show(request, container, "processes", context)


@require_POST
def signal(request: HttpRequest, ref: str) -> HttpResponse:
    """Send a signal to the process that was chosen."""
    container = gateway.engine().inspect(ref)
    key, name = _KEY.fullmatch(request.POST.get("process", "")), request.POST.get("signal", "")
    if key is None:
        raise errors.InvalidRequest(_("No process was chosen"), hint=_("choose one in the table"), field="process")
    if name not in dict(SIGNALS):
        raise errors.InvalidRequest(_("This signal is not offered"), hint=_("choose one from the list"), field="signal")
    caller = gateway.caller(request.user)
    gateway.engine().signal_process(container.id, int(key[1]), int(key[2]), name, caller=caller)
    if int(key[1]) != container.pid:  # of its first the engine tells
        number = Signals[f"SIG{name}"].value
        gateway.note("container", "signal", container.id, container.name, signal=number, pid=int(key[1]))
    words = _("Sent %(signal)s to the process with id %(pid)s on the host.") % {"signal": name, "pid": key[1]}
    if int(key[1]) == container.pid and name not in ALWAYS:  # pid_namespaces(7)
        words += " " + _("It is the container's first: without a handler of its own it ignores that; KILL ends it.")
    messages.success(request, words)
    return redirect("containers:processes", container.id)
