"""What every answer carries, and who may ask: content policy and sign-in."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import AbstractUser
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions import middleware as sessions
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import resolve_url
from django.utils import translation


class ContentPolicyMiddleware:
    """Sends a Content-Security-Policy in which only scripts that carry this answer's nonce run."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Make the nonce, answer, and add the headers."""
        nonce = request.csp_nonce = secrets.token_urlsafe(16)
        response = self.get_response(request)
        scheme = "wss" if request.is_secure() else "ws"
        # A refused Host must not find its way into the policy.
        socket = f" {scheme}://{request.get_host()}" if response.status_code != 400 else ""
        response["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'self' 'nonce-{nonce}'; "
            f"img-src 'self' data:; font-src 'self'; connect-src 'self'{socket}; form-action 'self'; "
            "frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
        )
        response["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        if not response.has_header("Cache-Control"):
            response["Cache-Control"] = "no-store"  # pages hold what a signed-out browser must not show
        return response


class SessionMiddleware(sessions.SessionMiddleware):
    """Takes the cookie from who signs out, and from nobody else.

    A new password exchanges the session of who asked for it, and a fragment may be on its way with the one before. It
    is refused; would its answer take the cookie away, it would take the next session's.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Send the session's cookie when it is due."""
        response = super().process_response(request, response)
        cookie = response.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie is not None and not cookie.value and not getattr(request, "signed_out", False):
            del response.cookies[settings.SESSION_COOKIE_NAME]
        return response


@receiver(user_logged_out)
def _sign_out(request: HttpRequest | None, **_more: object) -> None:
    if request is not None:
        request.signed_out = True  # type: ignore[attr-defined]


class SignInMiddleware(LoginRequiredMiddleware):
    """Refuses everybody who has not signed in, on every view that does not say otherwise."""

    def handle_no_permission(self, request: HttpRequest, view_func: Callable[..., HttpResponse]) -> HttpResponseBase:
        """Send the whole page to the sign-in form; a fragment or a script learns the status instead."""
        if getattr(request, "htmx", False):
            # Not a redirect: htmx would follow it and put the form into a corner of the page.
            return HttpResponse(status=401, headers={"HX-Redirect": resolve_url(settings.LOGIN_URL)})
        if request.headers.get("Accept", "").startswith("application/json"):
            return HttpResponse(status=401)
        return super().handle_no_permission(request, view_func)


def language_of(cookies: dict[str, str], accepted: str) -> str:
    """The language of whoever sent these cookies and this Accept-Language, as `LocaleMiddleware` finds it."""
    request = HttpRequest()
    request.COOKIES = cookies
    request.META["HTTP_ACCEPT_LANGUAGE"] = accepted
    return translation.get_language_from_request(request)


def signed_in(session_key: str) -> AbstractUser | None:
    """Whose the session is, asked of the database, if they may be here; outside of a request."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)  # also compares the password's hash: a new password ends old sessions
    return user if isinstance(user, AbstractUser) and user.is_active else None
