"""What a container was asked to be: all of it, what can be changed while it runs, and each version before."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, NamedTuple

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from console import gateway, text
from console.containers import creating, tabs
from console.containers.fields import FOR_ADMINS, SECTIONS, Fields
from console.containers.forms import CreateForm, initial
from console.containers.tabs.environment import without_values
from engine import Caller, Container, ContainerSpec, Limits, Role, Version, default_limits, errors, names

SIZES = ("memory", "memory_swap", "log_segment", "shm_bytes")
EDITED = ("name", *SECTIONS[0].names, "restart", "restarts")
CHANGES: dict[str, str | Promise] = {
    "create": gettext_lazy("created"),
    "rename": gettext_lazy("renamed"),
    "update": gettext_lazy("changed"),
    "restore": gettext_lazy("restored"),
}


class EditForm(CreateForm):
    """What can be changed without a new container; and of which version it was filled in."""

    version = forms.IntegerField(required=False, widget=forms.HiddenInput())

    def __init__(self, *args: Any, caller: Caller, **kwargs: Any) -> None:
        super().__init__(*args, caller=caller, **kwargs)
        for name in list(self.fields):
            if name not in (*EDITED, "version") or (name in FOR_ADMINS and caller.role is not Role.ADMIN):
                del self.fields[name]
        for name in ("memory", "cpus", "pids"):
            self.fields[name].help_text = _("Empty: it stays as it is")
        self.fields["name"].help_text = ""

    def clean(self) -> dict[str, Any]:
        """As of the whole form, of which the rest is not asked."""
        self.cleaned_data["image"] = "same"
        return super().clean()

    def rows(self) -> list[list[forms.BoundField]]:
        """Fields side by side."""
        return [[self[name] for name in row if name in self.fields] for row in SECTIONS[0].rows]


class Change(NamedTuple):
    """One thing that is other in one version than in another one."""

    label: str | Promise
    before: str
    after: str


class Past(NamedTuple):
    """One version, and how it came to be."""

    version: Version
    word: str | Promise
    changes: list[Change]  # against the one before
    back: list[Change]  # what a restore of it would change now


def changes(before: ContainerSpec, after: ContainerSpec) -> list[Change]:
    """What is other, in the words of the form."""
    was, now = initial(without_values(before)), initial(without_values(after))
    labels = {name: field.label or name for name, field in Fields.base_fields.items()}
    return [
        Change(labels[name], _said(name, was.get(name)), _said(name, now.get(name)))
        for name in labels
        if (was.get(name) or "") != (now.get(name) or "")
    ]


def _said(name: str, value: object) -> str:
    """A value as the form has it, but a size that nobody would write so: "11.8 GiB" is read sooner than "12342046k"."""
    if isinstance(value, bool):
        return _("yes") if value else ""
    if name in SIZES and re.fullmatch(r"\d{5,}[kb]", str(value)):
        count = names.size_bytes(str(value), name)
        words = text.size(count)
        usual = name.startswith("memory") and count == default_limits().memory_bytes
        return _("%(size)s, half of this host's") % {"size": words} if usual else words
    return "" if value is None else str(value)


def _history(container: Container) -> list[Past]:
    found = gateway.engine().versions(container.id)
    older = [*found[1:], None]
    return [
        Past(
            version, CHANGES.get(version.change, version.change), changes(before.spec, version.spec) if before else [],
            changes(container.spec, version.spec),
        )
        for version, before in zip(found, older, strict=True)
    ]  # fmt: skip


def _page(request: HttpRequest, container: Container, form: EditForm, status: int = 200) -> HttpResponse:
    spec = without_values(gateway.engine().asked(container.id))
    facts = [
        (Fields.base_fields[name].label, _said(name, value))
        for name, value in initial(without_values(container.spec)).items()
        if _said(name, value) and name in Fields.base_fields
    ]
    context = {"form": form, "facts": facts, "history": _history(container)} | creating.said(spec)
    return tabs.show(request, container, "config", context, status=status)


def _form(request: HttpRequest, container: Container, version: int) -> EditForm:
    data = request.POST if request.method == "POST" else None
    texts = initial(container.spec)
    if texts["memory_swap"] == texts["memory"]:  # so it stays when the memory changes
        texts["memory_swap"] = ""
    form = EditForm(data, caller=gateway.caller(request.user), initial=texts | {"version": version})
    if container.spec.limits.memory_bytes == default_limits().memory_bytes:  # to the byte it is nothing to be read
        form.initial["memory"] = ""
        form.fields["memory"].widget.attrs["placeholder"] = text.size(container.spec.limits.memory_bytes)
    return form


def _since(found: list[Version], number: int | None) -> str | None:
    """What others have changed since the form was filled in, which it would undo; None for nothing."""
    if number is None or number >= found[0].number:
        return None
    then = next((each for each in found if each.number <= number), found[-1])
    who = found[0].by or _("the command line")
    other = changes(then.spec, found[0].spec)
    what = "; ".join(f"{change.label}: {change.before or '–'} → {change.after or '–'}" for change in other)
    words = _("%(who)s has changed it meanwhile (%(what)s). Press again to have it as it stands here.")
    return words % {"who": who, "what": what}


def _other(limits: Limits, wanted: Limits) -> Limits:
    """Of the limits that are wanted those that are not so already."""
    given = {field.name: getattr(wanted, field.name) for field in dataclasses.fields(Limits)}
    return Limits(**{name: value for name, value in given.items() if value != getattr(limits, name)})


@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """The configuration; and the change of what can be changed, at once."""
    engine, caller = gateway.engine(), gateway.caller(request.user)
    container = engine.inspect(ref)
    versions = engine.versions(container.id)
    form = _form(request, container, versions[0].number)
    if request.method != "POST":
        return _page(request, container, form)
    if not form.is_valid():
        return _page(request, container, form, 400)
    if (since := _since(versions, form.cleaned_data["version"])) is not None:
        form.add_error(None, since)
        form.data = request.POST.copy()
        form.data["version"] = versions[0].number  # who presses again has read it
        return _page(request, container, form, 409)
    wanted = form.spec
    try:
        limits = _other(container.spec.limits, wanted.limits)
        engine.update(container.id, limits, wanted.restart, name=wanted.name, caller=caller)
    except errors.EngineError as error:
        form.blame(error)
        return _page(request, engine.inspect(container.id), form, gateway.status_of(error))
    messages.success(request, _("Changed %(name)s.") % {"name": wanted.name or container.name})
    return redirect("containers:config", container.id)


@require_http_methods(["GET", "HEAD", "POST"])
def restore(request: HttpRequest, ref: str, number: int) -> HttpResponse:
    """Say what would be other, then have an earlier version again."""
    engine = gateway.engine()
    container = engine.inspect(ref)
    if request.method != "POST":
        past = next((each for each in _history(container) if each.version.number == number), None)
        if past is None:
            raise errors.NotFound(
                _("There is no version %(number)d of %(name)s") % {"number": number, "name": container.name},
                hint=_("choose one of its history"),
            )
        name = "containers/restore/_dialog.html" if request.htmx else "containers/restore/page.html"
        return render(request, name, {"container": container, "past": past})
    container = engine.restore(container.id, number, caller=gateway.caller(request.user))
    messages.success(
        request, _("%(name)s is as in version %(number)d again.") % {"name": container.name, "number": number}
    )
    return gateway.go(request, reverse("containers:config", args=(container.id,)))
