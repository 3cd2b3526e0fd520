"""Signing in, and choosing the first name and password."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import password_validation
from django.contrib.auth.forms import AuthenticationForm, UsernameField
from django.contrib.auth.models import AbstractUser
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.utils.translation import gettext_lazy as _

from console.accounts.models import User


class SignInForm(AuthenticationForm):
    """User name and password."""

    username = UsernameField(label=_("User name"), widget=forms.TextInput(attrs={"autofocus": True}))
    error_messages = {
        "invalid_login": _("This name and password do not belong together."),
        "inactive": _("This account is switched off."),
    }


class SetupForm(forms.Form):
    """A new account, or a new password for an old one."""

    username = forms.CharField(
        label=_("User name"),
        max_length=150,
        validators=[UnicodeUsernameValidator()],
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}),
    )
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        help_text=_("12 characters or more, neither common nor all digits"),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label=_("Password again"), strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )

    def clean(self) -> dict[str, Any]:
        """Both passwords agree and are good enough."""
        data = super().clean() or {}
        password = data.get("password")
        if password and data.get("again") is not None and data["again"] != password:
            self.add_error("again", _("The two passwords differ."))
        elif password:
            try:
                password_validation.validate_password(password, User(username=data.get("username", "")))
            except forms.ValidationError as error:
                self.add_error("password", error)
        return data

    def save(self) -> AbstractUser:
        """Make the account or reset it. A new password ends all of its sessions.

        An admin's: the link was printed to root of the host, and whoever got it from there is trusted as much.
        """
        user, _made = User.objects.get_or_create(username=self.cleaned_data["username"])
        user.set_password(self.cleaned_data["password"])
        user.is_active = user.is_superuser = True
        user.save()
        return user
