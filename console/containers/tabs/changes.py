"""What a container changed of its image: look at it, make an image of it, take all of it away as a tar."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from django import forms
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from console import downloads, gateway, jobs, text
from console.containers import tabs
from console.containers.tabs import paths
from engine import Change, ChangeKind, CommitSpec, Container, errors, names

PAGE = 200  # changes
LOOKS = {ChangeKind.ADDED: "ok", ChangeKind.CHANGED: "warn", ChangeKind.DELETED: "bad"}


@dataclass(frozen=True, slots=True)
class Row:
    """A change, made ready for the page."""

    look: str
    word: str
    path: str
    opens: str  # where it can be looked at; "" for what is gone
    size: int | None


@require_safe
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """A page of changes. All are read to be counted; those of the page alone are kept."""
    container = gateway.engine().inspect(ref)
    wish = request.GET.get("kind", "")
    number = text.whole(request.GET.get("page", "")) or 1
    kind = ChangeKind(wish) if wish in list(ChangeKind) else None
    first = (number - 1) * PAGE
    counts: Counter[ChangeKind] = Counter()
    kept: list[Change] = []
    try:
        for change in gateway.engine().files.changes(container.id, caller=gateway.caller(request.user)):
            counts[change.kind] += 1
            at = counts[kind] if kind else counts.total()
            if change.kind == (kind or change.kind) and first < at <= first + PAGE:
                kept.append(change)
    except errors.EngineError as error:
        return tabs.show(request, container, "changes", {"error": error}, status=gateway.status_of(error))
    words = _words()
    matching = counts[kind] if kind else counts.total()
    context = {
        "rows": [_row(container, change, words) for change in kept],
        "kind": kind or "",
        "chips": [("", _("All"), counts.total()), *((each, words[each], counts[each]) for each in ChangeKind)],
        "first": first + 1,
        "last": first + len(kept),
        "total": matching,
        "before": number > 1 and f"kind={kind or ''}&page={number - 1}",
        "after": first + PAGE < matching and f"kind={kind or ''}&page={number + 1}",
    }
    return tabs.show(request, container, "changes", context)


def _words() -> dict[ChangeKind, str]:
    return {ChangeKind.ADDED: _("Added"), ChangeKind.CHANGED: _("Changed"), ChangeKind.DELETED: _("Deleted")}


def _row(container: Container, change: Change, words: dict[ChangeKind, str]) -> Row:
    return Row(
        LOOKS[change.kind],
        words[change.kind],
        text.shown(change.path),
        "" if change.kind is ChangeKind.DELETED else paths.address(container, change.path),
        change.size_bytes if change.is_file else None,
    )


class CommitForm(forms.Form):
    """How the new image is called, and what it says of itself."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=255,
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": "team/web:2", "spellcheck": "false"}),
    )
    author = forms.CharField(label=gettext_lazy("Author"), required=False, max_length=4096)
    message = forms.CharField(label=gettext_lazy("What was changed, and why"), required=False, max_length=4096)
    pause = forms.BooleanField(
        label=gettext_lazy("Pause the container meanwhile, so that its files fit together"),
        required=False,
        initial=True,
    )

    def clean_name(self) -> str:
        """A name that an image can have."""
        try:
            return names.image_reference(self.cleaned_data["name"])
        except errors.InvalidRequest as error:
            raise forms.ValidationError(gateway.sentences(error)) from error


@require_http_methods(["GET", "HEAD", "POST"])
def commit(request: HttpRequest, ref: str) -> HttpResponse:
    """Make an image of it."""
    container = gateway.engine().inspect(ref)
    form = CommitForm(request.POST or None, initial={"author": request.user.get_username()})
    if request.method != "POST" or not form.is_valid():
        return tabs.show(
            request, container, "commit", {"tab": "changes", "form": form}, status=400 if form.errors else 200
        )
    title = _("Make the image %(image)s of %(name)s") % {"image": form.cleaned_data["name"], "name": container.name}
    again = reverse("containers:commit", args=(container.id,))
    return redirect(
        jobs.begin(request.user, title, make_image, again=again, container=container.id, **form.cleaned_data)
    )


@jobs.repeatable(resumes=True)  # nothing half made counts, and its name goes to the image that was made last
def make_image(job: jobs.Job, *, container: str, name: str, author: str, message: str, pause: bool) -> jobs.Results:
    """Make an image of what it is now."""
    job.step(_("Reading the container's files"))
    spec = CommitSpec(name, author, message, pause=pause)
    image = gateway.engine().commit(container, spec, caller=job.caller, progress=job.step)
    return [(image.tags[0] if image.tags else image.short_id, reverse("images:list"))]


@require_safe
def export(request: HttpRequest, ref: str) -> StreamingHttpResponse:
    """The whole root as a tar."""
    container = gateway.engine().inspect(ref)
    stream = gateway.engine().files.export(container.id, caller=gateway.caller(request.user))
    return downloads.stream(stream, f"{container.name}.tar")
