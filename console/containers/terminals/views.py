"""Open a terminal in a container, come back to it, hang up."""

from __future__ import annotations

import shlex

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from console import gateway
from console.containers import tabs
from console.containers.terminals import shells
from engine import STARTER, ExecSpec, State, errors

BEST_SHELL = ("sh", "-c", 'exec "$(command -v bash || command -v sh)"')


class OpenForm(forms.Form):
    """What a new terminal runs, and as whom."""

    command = forms.CharField(
        label=_("Command"),
        required=False,
        max_length=4096,
        help_text=_("empty: bash, or sh where there is none"),
        widget=forms.TextInput({"list": "shells"}),
    )
    user = forms.CharField(label=_("User"), required=False, max_length=255, help_text=_("empty: as the container"))
    toolbox = forms.BooleanField(
        label=_("Toolbox"),
        required=False,
        help_text=_("with the starter image's tools; the container's files are at /container"),
    )

    def spec(self) -> ExecSpec:
        """The wish in the engine's words; InvalidRequest for quotes that do not match."""
        try:
            words = tuple(shlex.split(self.cleaned_data["command"])) or BEST_SHELL
        except ValueError as error:
            raise errors.InvalidRequest(
                gettext("The command cannot be split into words: %(why)s") % {"why": error},
                hint=gettext("close the quotes"),
                field="command",
            ) from error
        return ExecSpec(words, user=self.cleaned_data["user"] or None, toolbox=self.cleaned_data["toolbox"])


@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, ref: str, session: str = "") -> HttpResponse:
    """The page with one of the open terminals, or with none; a POST opens a new one."""
    engine = gateway.engine()
    container = engine.inspect(ref)
    form = OpenForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            terminal = engine.terminal(container.id, form.spec(), caller=gateway.caller(request.user))
        except errors.EngineError as error:
            gateway.blame(form, error)
        else:
            terminal.close()  # the page attaches to it
            return redirect("containers:terminals:show", container.id, terminal.info.session)
    running = container.state is State.RUNNING
    terminals = engine.terminals(container.id) if running else []
    offered = shells.found(container, gateway.caller(request.user)) if running else None
    known = {each.session for each in terminals}
    if not session and terminals and request.method != "POST":
        return redirect("containers:terminals:show", container.id, terminals[-1].session)
    context = {
        "form": form,
        "running": running,
        "shells": offered or [],
        "bare": offered == [],
        "equipped": _equipped(),
        "terminals": [(each, each.command == BEST_SHELL) for each in terminals],
        "session": session,
        "open": session in known,
    }
    return tabs.show(request, container, "terminal", context, status=404 if session and session not in known else 200)


def _equipped() -> bool:
    """Whether there is a toolbox: the starter image."""
    try:
        gateway.engine().image(STARTER)
    except errors.NotFound:
        return False
    return True


@require_POST
def end(request: HttpRequest, ref: str, session: str) -> HttpResponse:
    """Hang up, and show what is left."""
    container = gateway.engine().inspect(ref)
    gateway.engine().end_terminal(container.id, session, caller=gateway.caller(request.user))
    return redirect("containers:terminals:list", container.id)
