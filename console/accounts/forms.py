"""Signing in, choosing names and passwords, making users and tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from allauth.account.adapter import get_adapter
from django import forms
from django.contrib.auth import password_validation
from django.contrib.auth.forms import AuthenticationForm, UsernameField
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from console.accounts.models import ApiToken, User

NAME_RULE = _("Use letters, digits and @ . + - _ alone; no spaces")


class SignInForm(AuthenticationForm):
    """User name and password."""

    username = UsernameField(label=_("User name"), widget=forms.TextInput(attrs={"autofocus": True}))
    error_messages = {
        "invalid_login": _("Wrong user name or password."),
        "inactive": _("This account is switched off."),
    }


class PasswordForm(forms.Form):
    """A new password, typed twice."""

    password = forms.CharField(
        label=_("Password"),
        strip=False,
        help_text=_("12 characters or more, neither common nor all digits"),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label=_("Password again"), strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )

    def __init__(self, *args: Any, user: User | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.user = user

    def clean(self) -> dict[str, Any]:
        """Both passwords agree and are good enough."""
        data = super().clean() or {}
        password = data.get("password")
        if password and data.get("again") is not None and data["again"] != password:
            self.add_error("again", _("The two passwords differ."))
        if password:
            try:
                owner = self.user or User(username=data.get("username", ""))
                password_validation.validate_password(password, owner)
            except forms.ValidationError as error:
                self.add_error("password", error)
        return data

    def save(self) -> User:
        """Set it. A new password ends all sessions of the account."""
        assert self.user is not None
        self.user.set_password(self.cleaned_data["password"])
        self.user.save()
        return self.user


class SetupForm(PasswordForm):
    """A new account, or a new password for an old one."""

    field_order = ("username", "password", "again")
    made = False  # the account, by `save`
    username = forms.CharField(
        label=_("User name"),
        max_length=150,
        validators=[UnicodeUsernameValidator(message=NAME_RULE)],
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}),
    )

    def save(self) -> User:
        """Make the account or reset it.

        An admin's: the link was printed to root of the host, and whoever got it from there is trusted as much.
        """
        self.user, self.made = User.objects.get_or_create(username=self.cleaned_data["username"])
        self.user.is_active = self.user.is_superuser = True
        return super().save()


class ChangePasswordForm(PasswordForm):
    """One's own password, which is shown once more."""

    field_order = ("old", "password", "again")
    old = forms.CharField(
        label=_("Current password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args: Any, request: HttpRequest, **options: Any) -> None:
        super().__init__(*args, user=request.user, **options)
        self._request = request
        self.fields["password"].label = _("New password")
        if not request.user.has_usable_password():  # who came from the provider has none
            del self.fields["old"]

    def clean_old(self) -> str:
        """It is the right one; guessing is slowed down as at the sign-in."""
        if not get_adapter().reauthenticate(self.user, self.cleaned_data["old"]):
            raise forms.ValidationError(_("This is not your password."))
        return str(self.cleaned_data["old"])


class UserForm(forms.Form):
    """A new account."""

    username = forms.CharField(
        label=_("User name"),
        max_length=150,
        validators=[UnicodeUsernameValidator(message=NAME_RULE)],
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    role = forms.ChoiceField(
        label=_("Role"),
        choices=[("member", _("Member")), ("admin", _("Admin"))],
        help_text=_("Members see and run every container here; admins also open them to the host, and make users"),
    )
    password = forms.CharField(
        label=_("Password"),
        required=False,
        strip=False,
        help_text=_("Empty: a one-time link lets the user choose it"),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean_username(self) -> str:
        """Nobody has the name, in whichever case."""
        name = str(self.cleaned_data["username"])
        if User.objects.filter(username__iexact=name).exists():
            raise forms.ValidationError(_("There is a user %(name)s already.") % {"name": name})
        return name

    def clean_password(self) -> str:
        """Good enough, if there is one."""
        password = str(self.cleaned_data["password"])
        if password:
            password_validation.validate_password(password, User(username=self.cleaned_data.get("username", "")))
        return password

    def save(self) -> User:
        """Make it."""
        data = self.cleaned_data
        password = data["password"] or None
        return User.objects.create_user(data["username"], password=password, is_superuser=data["role"] == "admin")


class TokenForm(forms.Form):
    """A new API token; its scope is at most what its maker is."""

    DAYS = [
        ("7", _("7 days")),
        ("30", _("30 days")),
        ("90", _("90 days")),
        ("365", _("365 days")),
        ("", pgettext_lazy("expires", "Never")),
    ]

    name = forms.CharField(
        label=_("Name"), max_length=100, help_text=_("What it is for"), widget=forms.TextInput({"autocomplete": "off"})
    )
    scope = forms.ChoiceField(label=_("Scope"), choices=ApiToken.Scope.choices)
    days = forms.ChoiceField(label=_("Expires after"), choices=DAYS, required=False, initial="90")

    def __init__(self, *args: Any, user: User, **options: Any) -> None:
        super().__init__(*args, **options)
        if not user.is_superuser:
            self.fields["scope"].choices = [each for each in ApiToken.Scope.choices if each[0] != ApiToken.Scope.ADMIN]
        self._user = user

    def save(self) -> str:
        """Make it, and return what is shown once."""
        data = self.cleaned_data
        until = timezone.now() + timedelta(days=int(data["days"])) if data["days"] else None
        return ApiToken.issue(self._user, name=data["name"], scope=data["scope"], expires_at=until)
