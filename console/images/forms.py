"""Bringing an image in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy


class ImportForm(forms.Form):
    """A tar by upload or by its path on this host."""

    upload = forms.FileField(
        label=gettext_lazy("File from this computer"),
        required=False,
        allow_empty_file=False,
        widget=forms.FileInput(attrs={"accept": ".tar,.gz,.tgz,.xz,.bz2,.zst"}),
    )
    path = forms.CharField(
        label=gettext_lazy("Or a path on the server"),
        required=False,
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": "/srv/images/debian.tar", "spellcheck": "false"}),
    )
    name = forms.CharField(
        label=gettext_lazy("Name"),
        required=False,
        help_text=gettext_lazy("For a plain root filesystem; other archives bring their own"),
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": "team/debian:12", "spellcheck": "false"}),
    )

    def clean_path(self) -> Path | None:
        """An absolute path, or nothing."""
        text = self.cleaned_data["path"]
        if text and not text.startswith("/"):
            raise forms.ValidationError(_("Write the full path, beginning with /."))
        return Path(text) if text else None

    def clean(self) -> dict[str, Any]:
        """Exactly one source."""
        data = super().clean() or {}
        if "path" in data and "upload" in data and bool(data["path"]) == bool(data["upload"]):
            self.add_error("upload", _("Choose either a file or a path."))
        return data
