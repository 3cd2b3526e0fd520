"""What is in a file: a piece of it to read, or all of a small text to change."""

from __future__ import annotations

import re
import stat
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from console import gateway, text
from console.containers.tabs import paths
from engine import Caller, Container, FilePart, errors

PIECE = 128 * 1024  # bytes on one page
LONGEST = 2**20  # bytes of what can be changed here
MOST_SENT = 1_900_000  # what a browser sends for it: an end of line is two bytes there
_OTHER_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def facts(part: FilePart) -> dict[str, Any]:
    """What a file is, for the line above its text."""
    return {"about": part, "modes": stat.filemode(part.mode)}


def piece(request: HttpRequest, container: Container, path: str) -> dict[str, Any]:
    """A page of a file, from the byte that the address says."""
    offset = text.whole(request.GET.get("offset", ""), text.LARGEST) or 0
    part = gateway.engine().browse.read(
        container.id, path, offset=offset, length=PIECE, caller=gateway.caller(request.user)
    )
    here, end = paths.query(path), offset + len(part.data)
    return facts(part) | {
        "text": None if b"\0" in part.data else text.printed(part.data.decode(errors="replace")),
        "editable": offset == 0 and part.size <= LONGEST and b"\0" not in part.data,
        "from": offset,
        "to": end,
        "before": offset and f"{here}&offset={max(0, offset - PIECE)}",
        "after": end < part.size and f"{here}&offset={end}",
    }


class EditForm(forms.Form):
    """A text, and what was there when it was opened."""

    text = forms.CharField(
        label=gettext_lazy("Text"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"class": "mono", "spellcheck": "false", "wrap": "off", "rows": 24}),
    )
    digest = forms.RegexField(r"\A[0-9a-f]{64}\Z", widget=forms.HiddenInput)
    ends = forms.ChoiceField(choices=[("lf", "lf"), ("crlf", "crlf")], widget=forms.HiddenInput)

    def data_bytes(self) -> bytes:
        """The file's bytes: a browser ends every line with CR LF, whatever the file did."""
        lines = self.cleaned_data["text"].replace("\r\n", "\n")
        return (lines.replace("\n", "\r\n") if self.cleaned_data["ends"] == "crlf" else lines).encode()


def opened(container: Container, path: str, caller: Caller) -> tuple[FilePart, EditForm]:
    """A file that can be changed as a text and come back as it was, but for the changes."""
    part = gateway.engine().browse.read(container.id, path, length=LONGEST, caller=caller)
    if not part.whole or len(part.data) + part.data.count(b"\n") > MOST_SENT:
        raise errors.InvalidRequest(
            _("The file is too large to be changed here"), hint=_("download it, and upload it again")
        )
    crlf = part.data.count(b"\r\n")
    if crlf and crlf != part.data.count(b"\n"):
        raise errors.InvalidRequest(
            _("The file's lines end in two ways, which a browser cannot keep apart"),
            hint=_("download it, and upload it again"),
        )
    try:
        lines = part.data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        lines = "\0"
    if _OTHER_CONTROLS.search(lines):
        raise errors.InvalidRequest(_("The file is no text"), hint=_("download it, and upload it again"))
    initial = {"text": lines, "digest": part.digest, "ends": "crlf" if crlf else "lf"}
    return part, EditForm(initial=initial)
