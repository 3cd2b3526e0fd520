"""Bringing an image in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from console import disk, gateway
from engine import Caller, Role, errors, names


class ImportForm(forms.Form):
    """A tar by upload or by its path on this host.

    A page announces a file before it sends one, by its name where the file would be: all else is looked at by then.
    """

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
        help_text=gettext_lazy("Empty: as the archive says, or as the file of a plain root filesystem is called"),
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": "team/debian:12", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, caller: Caller, **options: Any) -> None:
        super().__init__(*args, **options)
        if caller.role is not Role.ADMIN:  # a path is opened by the host's root
            del self.fields["path"]
            self.fields["upload"].required = not self.announced

    @property
    def announced(self) -> bool:
        """Whether the file is yet to come."""
        return bool(self.data.get("upload"))

    def clean_name(self) -> str:
        """A name that an image can have, or nothing."""
        name: str = self.cleaned_data["name"]
        try:
            return name and names.image_reference(name)
        except errors.InvalidRequest as error:
            raise forms.ValidationError(gateway.sentences(error)) from error

    def clean_path(self) -> Path | None:
        """An absolute path, or nothing."""
        text = self.cleaned_data["path"]
        if text and not text.startswith("/"):
            raise forms.ValidationError(_("Write the full path, beginning with /."))
        return Path(text) if text else None

    def clean(self) -> dict[str, Any]:
        """Exactly one source."""
        data = super().clean() or {}
        if self.announced:
            try:
                disk.require_room(self.data.get("upload_bytes", ""))
            except errors.InvalidRequest as error:
                self.add_error(None, gateway.sentences(error))
        both = "path" in data and "upload" in data
        if both and bool(data["path"]) == (self.announced or bool(data["upload"])):
            self.add_error("path", _("Choose either a file or a path."))
        return data
