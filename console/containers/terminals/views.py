"""Open a terminal in a container, come back to it, hang up."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from console import gateway
from console.containers import tabs
from console.containers.terminals import shells
from engine import STARTER, Container, ExecSpec, State, errors, names

BEST_SHELL = ("sh", "-c", 'exec "$(command -v bash || command -v sh)"')

# A browser types UTF-8; without a locale, locale(7), a shell takes its letters for bytes.
LOCALES = ("LANG=", "LC_ALL=", "LC_CTYPE=")
UTF_8 = ("LANG=C.UTF-8",)


class OpenForm(forms.Form):
    """What a new terminal runs, and as whom."""

    command = forms.CharField(
        label=gettext_lazy("Command"),
        required=False,
        max_length=4096,
        help_text=gettext_lazy("empty: bash, or sh where there is none"),
        widget=forms.TextInput({"list": "shells"}),
    )
    user = forms.CharField(
        label=gettext_lazy("User"), required=False, max_length=255, help_text=gettext_lazy("empty: as the container")
    )
    toolbox = forms.BooleanField(
        label=gettext_lazy("Toolbox"),
        required=False,
        help_text=gettext_lazy("with the starter image's tools; the container's files are at /container"),
    )

    def spec(self, container: Container) -> ExecSpec:
        """The wish in the engine's words; InvalidRequest for quotes that do not match."""
        words = names.words(self.cleaned_data["command"], "command") or BEST_SHELL
        toolbox = self.cleaned_data["toolbox"]
        spoken = not toolbox and any(entry.startswith(LOCALES) for entry in container.spec.env)
        return ExecSpec(words, () if spoken else UTF_8, user=self.cleaned_data["user"] or None, toolbox=toolbox)


@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, ref: str, session: str = "") -> HttpResponse:
    """The page with one of the open terminals, or with none; a POST opens a new one."""
    engine = gateway.engine()
    container = engine.inspect(ref)
    form = OpenForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            terminal = engine.terminal(container.id, form.spec(container), caller=gateway.caller(request.user))
        except errors.EngineError as error:
            gateway.blame(form, error)
        else:
            terminal.close()  # the page attaches to it
            gateway.note("container", "terminal", container.id, container.name)
            return redirect("containers:terminals:show", container.id, terminal.info.session)
    caller = gateway.caller(request.user)
    running = container.state is State.RUNNING
    try:
        terminals = engine.terminals(container.id, caller=caller) if running else []
    except errors.Denied as error:
        return tabs.show(request, container, "terminal", {"denied": error}, status=gateway.status_of(error))
    offered = shells.found(container, caller) if running else None
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


@require_http_methods(["GET", "HEAD", "POST"])
def end(request: HttpRequest, ref: str, session: str) -> HttpResponse:
    """Say what goes, then hang up, and show what is left."""
    engine = gateway.engine()
    container = engine.inspect(ref)
    if request.method == "POST":
        engine.end_terminal(container.id, session, caller=gateway.caller(request.user))
        return gateway.go(request, reverse("containers:terminals:list", args=(container.id,)))
    found = engine.terminals(container.id, caller=gateway.caller(request.user))
    terminal = next((each for each in found if each.session == session), None)
    if terminal is None:
        raise errors.NotFound(_("This terminal has ended"), hint=_("open a new one"), subject=session)
    name = "containers/terminals/_end.html" if request.htmx else "containers/terminals/end.html"
    context = {"container": container, "terminal": terminal, "plain": terminal.command == BEST_SHELL}
    return render(request, name, context)
