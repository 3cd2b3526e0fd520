"""What allauth asks of us: no sign-up, our throttle, secrets encrypted, and members from the provider."""

from __future__ import annotations

import base64
import hashlib
import socket
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from cryptography.fernet import Fernet
from django.conf import settings
from django.contrib import auth, messages
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from console.accounts.throttle import client_address, tries, tries_key

# allauth says it, and calls the app by another name than we do where it is translated: our catalogue comes first.
gettext_noop("Use authenticator app or code")
gettext_noop("Authenticator code")
gettext_noop("Code")


class AccountAdapter(DefaultAccountAdapter):
    """Accounts are made by admins, and passwords are guessed five times a minute."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody makes an account for himself."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that counts for limits and is listed with a session."""
        return client_address(request) or str(request.META.get("REMOTE_ADDR") or "::")

    def authenticate(self, request: HttpRequest, **credentials: Any) -> AbstractBaseUser | None:
        """Check a password where somebody who is signed in shows it again."""
        key = tries_key(request, credentials.get("username", ""))
        if tries.retry_after_s(key):
            raise self.validation_error("too_many_login_attempts")
        user = auth.authenticate(request, **credentials)
        if user is not None:
            tries.forget(key)
        return user

    def respond_user_inactive(self, request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
        """Refuse a passkey or a provider's word for an account that is switched off."""
        messages.error(request, _("This account is switched off."))
        return redirect("accounts:sign-in")


class FactorAdapter(DefaultMFAAdapter):
    """Second factors: named after the host, their secrets of no use without the key beside the database."""

    def _get_site_name(self) -> str:
        return f"Wharfie {socket.gethostname()}"

    def encrypt(self, text: str) -> str:
        """A secret as it is stored."""
        return self._cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """What `encrypt` was given."""
        return self._cipher().decrypt(encrypted_text.encode()).decode()

    @staticmethod
    def _cipher() -> Fernet:
        key = hashlib.sha256(b"second factors " + str(settings.SECRET_KEY).encode()).digest()
        return Fernet(base64.urlsafe_b64encode(key))


class ProviderAdapter(DefaultSocialAccountAdapter):
    """Whoever the configured provider lets in is a member. Only its subject identifies: names and mail are words."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """The provider decides who its people are."""
        return True

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: Any) -> bool:
        """There is nothing to ask: a name that is taken gets a number."""
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Forget the mail address: nothing is sent, and nobody is recognised by it."""
        sociallogin.email_addresses = []
        if not sociallogin.is_existing:
            sociallogin.user.email = ""

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        """Back to where the button was."""
        return reverse("mfa_index")

    def on_authentication_error(self, request: HttpRequest, provider: Any, *_ignored: Any, **_more: Any) -> None:
        """Say on the sign-in page that it came to nothing; the provider has told why, on its own pages."""
        messages.error(request, _("%(provider)s did not sign you in. Try again.") % {"provider": provider.name})
        raise ImmediateHttpResponse(redirect("mfa_index" if request.user.is_authenticated else "accounts:sign-in"))
