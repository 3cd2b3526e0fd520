"""A container's files: look into directories and files, upload, download, make, rename, remove."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console import disk, downloads, gateway, text
from console.containers import tabs
from console.containers.tabs import paths
from console.containers.tabs.contents import EditForm, facts, opened, piece
from engine import Container, DirectoryEntry, PathStat, errors

PAGE = 200  # entries


class UploadForm(forms.Form):
    """A file for a directory."""

    upload = forms.FileField(label=gettext_lazy("File"), allow_empty_file=True)
    replace = forms.BooleanField(label=gettext_lazy("Replace one of that name"), required=False)


class NameForm(forms.Form):
    """What something is to be called."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=255,
        strip=False,
        widget=forms.TextInput(
            attrs={"class": "mono", "spellcheck": "false", "autocomplete": "off", "placeholder": gettext_lazy("Name")}
        ),
    )

    def clean_name(self) -> str:
        """One name, not a path."""
        name: str = self.cleaned_data["name"]
        if "/" in name:
            raise forms.ValidationError(_("A name has no slash in it."))
        return name


@dataclass(frozen=True, slots=True)
class Row:
    """An entry of a directory, made ready for the page."""

    name: str
    about: PathStat
    kind: str  # the drawing beside it
    word: str  # what it is, unless that is plain
    link: str
    opens: str  # where it leads in the console; "" for what cannot be read
    query: str


@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """A directory's entries, or a file's text; what is sent to a directory's address is put into it."""
    if request.method == "POST":
        return _upload(request, ref)
    container, path = gateway.engine().inspect(ref), paths.asked(request)
    try:
        caller, look = gateway.caller(request.user), gateway.engine().files.stat
        itself = look(container.id, path, follow=False, caller=caller)
        found = look(container.id, path, caller=caller) if itself.link else itself
        if found.is_directory:
            return _directory(request, container, path)
        about = {"link": text.shown(itself.link)} | piece(request, container, path)
        return tabs.show(request, container, "file", _place(container, path) | about)
    except errors.EngineError as error:
        return _failed(request, container, path, error)


def _failed(request: HttpRequest, container: Container, path: str, error: errors.EngineError) -> HttpResponse:
    context = _place(container, path) | {"error": error}
    return tabs.show(request, container, "files", context, status=gateway.status_of(error))


def _place(container: Container, path: str) -> dict[str, Any]:
    """What every page of a path shows: the way to it."""
    parts = [part for part in path.split("/") if part]
    way = [
        (text.shown(part), paths.address(container, "/" + "/".join(parts[: at + 1]))) for at, part in enumerate(parts)
    ]
    return {
        "tab": "files",
        "path": text.shown(path),
        "query": paths.query(path),
        "name": text.shown(path.rpartition("/")[2]),
        "way": way,
        "above": paths.address(container, paths.above(path)),
    }


def _directory(
    request: HttpRequest,
    container: Container,
    path: str,
    filled: dict[str, forms.Form] | None = None,
    status: int = 200,
) -> HttpResponse:
    number = text.whole(request.GET.get("page", "")) or 1
    found = gateway.engine().browse.list(
        container.id, path, first=(number - 1) * PAGE, count=PAGE, caller=gateway.caller(request.user)
    )
    here = paths.query(path)
    context = _place(container, path) | {
        "upload": UploadForm(auto_id="upload_%s"),
        "folder": NameForm(auto_id="folder_%s"),
        "rows": [_row(container, path, entry) for entry in found.entries],
        "total": found.total,
        "first": (number - 1) * PAGE + 1,
        "last": (number - 1) * PAGE + len(found.entries),
        "before": number > 1 and f"{here}&page={number - 1}",
        "after": number * PAGE < found.total and f"{here}&page={number + 1}",
    }
    return tabs.show(request, container, "files", context | (filled or {}), status=status)


def _row(container: Container, path: str, entry: DirectoryEntry) -> Row:
    place = paths.below(path, entry.name)
    kind, word = _kind(entry)
    opens = entry.leads_to_directory or entry.leads_to_file
    return Row(
        text.shown(entry.name), entry, kind, word, text.shown(entry.link),
        paths.address(container, place) if opens else "", paths.query(place),
    )  # fmt: skip


def _kind(entry: DirectoryEntry) -> tuple[str, str]:
    kinds = {
        stat.S_IFDIR: ("folder", ""),
        stat.S_IFREG: ("file", ""),
        stat.S_IFIFO: ("file", _("FIFO")),
        stat.S_IFSOCK: ("file", _("socket")),
        stat.S_IFCHR: ("file", _("device")),
        stat.S_IFBLK: ("file", _("device")),
    }
    if not stat.S_ISLNK(entry.mode):
        return kinds.get(stat.S_IFMT(entry.mode), ("file", ""))
    if entry.target_mode is None:
        return "file", _("leads nowhere")
    return kinds.get(stat.S_IFMT(entry.target_mode), ("file", ""))


@require_safe
def fetch(request: HttpRequest, ref: str) -> StreamingHttpResponse:
    """Download a file, or a directory as a tar."""
    engine, path = gateway.engine(), paths.asked(request)
    container, caller = engine.inspect(ref), gateway.caller(request.user)
    found = engine.files.stat(container.id, path, caller=caller)
    name = path.rpartition("/")[2] or container.name
    if found.is_directory:
        return downloads.stream(
            engine.files.copy_out(container.id, path, name, follow=True, caller=caller), f"{name}.tar"
        )
    return downloads.stream(engine.browse.content(container.id, path, found.size, caller=caller), name, found.size)


def _upload(request: HttpRequest, ref: str) -> HttpResponse:
    """A page announces a file's name before it sends its bytes: then only that is looked at."""
    engine, path = gateway.engine(), paths.asked(request)
    container, caller = engine.inspect(ref), gateway.caller(request.user)
    announced = request.POST.get("upload", "")
    form = UploadForm(request.POST, request.FILES, auto_id="upload_%s")
    try:
        if announced:
            _require_free(container, paths.below(path, announced), request)
            disk.require_room(request.POST.get("upload_bytes", ""))
            return HttpResponse(status=204)
        if form.is_valid():
            file = form.cleaned_data["upload"]
            engine.browse.upload(
                container.id, paths.below(path, file.name), file, file.size, replace=form.cleaned_data["replace"],
                caller=caller,
            )  # fmt: skip
            _note(container, "upload", paths.below(path, file.name))
            messages.success(request, _("Uploaded %(name)s.") % {"name": text.shown(file.name)})
            return gateway.go(request, paths.address(container, path))
    except errors.EngineError as error:
        if announced or request.htmx:  # its form lacks the file, which is not what is wrong
            return render(request, "containers/tabs/_upload.html", {"problem": gateway.sentences(error)}, status=400)
        gateway.blame(form, error)
    if request.htmx:
        return render(request, "containers/tabs/_upload.html", {"upload": form}, status=400)
    return _directory(request, container, path, {"upload": form}, status=400)


def _note(container: Container, action: str, path: str) -> None:
    gateway.note("container", action, container.id, container.name, path=path)


def _require_free(container: Container, place: str, request: HttpRequest) -> None:
    """Gigabytes are not sent to learn that the name is taken. Whether it still is, the upload itself asks again."""
    if request.POST.get("replace"):
        return
    try:
        gateway.engine().files.stat(container.id, place, follow=False, caller=gateway.caller(request.user))
    except errors.NotFound:
        return
    raise errors.AlreadyExists(
        _("%(path)s is there already") % {"path": text.shown(place)},
        hint=_("tick “Replace one of that name”, or remove it first"),
        field="upload",
    )


@require_POST
def make_directory(request: HttpRequest, ref: str) -> HttpResponse:
    """Make a directory in the one that is shown."""
    container, path = gateway.engine().inspect(ref), paths.asked(request)
    form = NameForm(request.POST, auto_id="folder_%s")
    if form.is_valid():
        try:
            gateway.engine().browse.make_directory(
                container.id, paths.below(path, form.cleaned_data["name"]), caller=gateway.caller(request.user)
            )
            _note(container, "mkdir", paths.below(path, form.cleaned_data["name"]))
            return redirect(paths.address(container, path))
        except errors.EngineError as error:
            gateway.blame(form, error)
    return _directory(request, container, path, {"folder": form}, status=400)


@require_http_methods(["GET", "HEAD", "POST"])
def rename(request: HttpRequest, ref: str) -> HttpResponse:
    """Another name in the same directory."""
    container, path = gateway.engine().inspect(ref), paths.asked(request)
    last = path.rpartition("/")[2]
    form = NameForm(request.POST or None, initial={"name": text.shown(last)})
    if request.method == "POST" and form.is_valid():
        try:
            to = paths.below(paths.above(path), form.cleaned_data["name"])
            gateway.engine().browse.rename(container.id, path, to, caller=gateway.caller(request.user))
            _note(container, "rename_file", path)
            messages.success(
                request,
                _("%(old)s is called %(new)s now.")
                % {"old": text.shown(last), "new": text.shown(form.cleaned_data["name"])},
            )
            return gateway.go(request, paths.address(container, paths.above(path)))
        except errors.EngineError as error:
            gateway.blame(form, error)
    return _ask(request, container, path, "rename", {"form": form}, status=400 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, ref: str) -> HttpResponse:
    """Say what goes, then remove."""
    container, path, caller = gateway.engine().inspect(ref), paths.asked(request), gateway.caller(request.user)
    if request.method == "POST":
        gateway.engine().browse.remove(container.id, path, caller=caller)
        _note(container, "remove_file", path)
        messages.success(request, _("Removed %(name)s.") % {"name": text.shown(path)})
        return gateway.go(request, paths.address(container, paths.above(path)))
    about = gateway.engine().files.stat(container.id, path, follow=False, caller=caller)
    size = gateway.engine().browse.measure(container.id, path, caller=caller) if about.is_directory else None
    return _ask(request, container, path, "remove", {"about": about, "size": size})


def _ask(
    request: HttpRequest, container: Container, path: str, act: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    shell = "containers/tabs/_ask_file.html" if request.htmx else "containers/tabs/ask_file.html"
    place = _place(container, path) | {"container": container, "act": f"containers/tabs/_{act}_file.html"}
    return render(request, shell, place | context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, ref: str) -> HttpResponse:
    """Change a small text."""
    container, path, caller = gateway.engine().inspect(ref), paths.asked(request), gateway.caller(request.user)
    try:
        if request.method != "POST":
            part, form = opened(container, path, caller)
            return tabs.show(request, container, "edit", _place(container, path) | facts(part) | {"form": form})
    except errors.EngineError as error:
        return _failed(request, container, path, error)
    form, status = EditForm(request.POST), 400
    if form.is_valid():
        try:
            data, expected = form.data_bytes(), form.cleaned_data["digest"]
            gateway.engine().browse.write(container.id, path, data, expected=expected, caller=caller)
            _note(container, "edit", path)
            messages.success(request, _("Saved %(name)s.") % {"name": text.shown(path)})
            return redirect(paths.address(container, path))
        except errors.EngineError as error:
            gateway.blame(form, error)
            status = gateway.status_of(error)
    return tabs.show(request, container, "edit", _place(container, path) | {"form": form}, status=status)
