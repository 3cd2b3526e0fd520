"""Asking for a volume."""

from django import forms
from django.utils.translation import gettext_lazy as _


class CreateForm(forms.Form):
    """A volume's name; the engine knows which names are good."""

    name = forms.CharField(
        label=_("New volume"),
        error_messages={"required": _("Give it a name.")},
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": _("Name")}),
    )
