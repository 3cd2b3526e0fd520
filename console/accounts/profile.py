"""One's own account: password, second factors, sessions, tokens, and the tie to the provider."""

from __future__ import annotations

from datetime import timedelta

from allauth.account.decorators import reauthentication_required
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import auth, messages
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.accounts import audit
from console.accounts.forms import ChangePasswordForm, TokenForm
from console.accounts.models import ApiToken
from engine.errors import WrongState

BROWSERS = ("Firefox", "Edg", "OPR", "Chrome", "Safari", "curl")  # each calls itself by those after it as well
SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux")


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """All of it on one page."""
    UserSession.objects.create_from_request(request)  # of before sessions were listed, or from another address now
    factors = Authenticator.objects.filter(user=request.user).order_by("created_at")
    by_type = {kind: [each for each in factors if each.type == kind] for kind in Authenticator.Type}
    codes = by_type[Authenticator.Type.RECOVERY_CODES]
    context = {
        "app": next(iter(by_type[Authenticator.Type.TOTP]), None),
        "passkeys": by_type[Authenticator.Type.WEBAUTHN],
        "codes": len(codes[0].wrap().get_unused_codes()) if codes else None,
        "sessions": _sessions(request),
        "tokens": ApiToken.objects.filter(user=request.user).order_by("-created_at"),
        "tie": SocialAccount.objects.filter(user=request.user).first(),
        "provider": settings.OIDC_ISSUER and settings.OIDC_NAME,
    }
    return render(request, "accounts/profile.html", context)


def _sessions(request: HttpRequest) -> list[dict[str, object]]:
    """Where this user is signed in, the last used first. A session is saved at every use, which dates it."""
    listed = UserSession.objects.purge_and_list(request.user)
    ends = dict(
        Session.objects.filter(session_key__in=[each.session_key for each in listed]).values_list(
            "session_key", "expire_date"
        )
    )
    age = timedelta(seconds=settings.SESSION_COOKIE_AGE)
    rows = [
        {
            "session": each,
            "client": client(each.user_agent),
            "used_at": ends[each.session_key] - age,
            "current": each.session_key == request.session.session_key,
        }
        for each in listed
        if each.session_key in ends
    ]
    return sorted(rows, key=lambda row: (row["current"], row["used_at"]), reverse=True)


def client(user_agent: str) -> str:
    """A browser and its system in two words, as far as it says."""
    browser = next((name for name in BROWSERS if name in user_agent), "")
    system = next((name for name in SYSTEMS if name in user_agent), "")
    names = {"Edg": "Edge", "OPR": "Opera", "Mac OS": "macOS"}
    return " · ".join(names.get(word, word) for word in (browser, system) if word) or user_agent[:60]


@sensitive_post_parameters("old", "password", "again")
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """Choose a new password, which ends all other sessions."""
    form = ChangePasswordForm(request.POST or None, request=request)
    if request.method == "POST" and form.is_valid():
        user = form.save()
        auth.update_session_auth_hash(request, user)
        UserSession.objects.create_from_request(request)
        audit.tell("password", user)
        messages.success(request, _("The password is changed. Your other sessions have ended."))
        return redirect("mfa_index")
    return render(request, "accounts/password.html", {"form": form}, status=400 if form.is_bound else 200)


@require_POST
def end_session(request: HttpRequest, number: int) -> HttpResponse:
    """Sign out there."""
    session = get_object_or_404(UserSession, pk=number, user=request.user)
    if session.session_key == request.session.session_key:
        auth.logout(request)
        return redirect("accounts:sign-in")
    session.end()
    messages.success(request, _("The session has ended."))
    return redirect("mfa_index")


@require_POST
def end_others(request: HttpRequest) -> HttpResponse:
    """Sign out everywhere but here."""
    for session in UserSession.objects.filter(user=request.user).exclude(session_key=request.session.session_key):
        session.end()
    messages.success(request, _("Your other sessions have ended."))
    return redirect("mfa_index")


@reauthentication_required
@require_http_methods(["GET", "HEAD", "POST"])
def make_token(request: HttpRequest) -> HttpResponse:
    """Make an API token, and show it this once."""
    form = TokenForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        token = form.save()
        audit.tell("make_token", request.user)
        return render(request, "accounts/token_made.html", {"token": token})
    return render(request, "accounts/token.html", {"form": form}, status=400 if form.is_bound else 200)


@require_POST
def revoke_token(request: HttpRequest, number: int) -> HttpResponse:
    """It counts no longer."""
    token = get_object_or_404(ApiToken, pk=number, user=request.user)
    token.delete()
    audit.tell("revoke_token", request.user)
    messages.success(request, _("Revoked token %(name)s.") % {"name": token.name})
    return redirect("mfa_index")


@require_POST
def untie(request: HttpRequest) -> HttpResponse:
    """Sign in with the provider no longer; refused to who could not sign in at all then."""
    if not request.user.has_usable_password():
        raise WrongState(_("You have no password yet"), hint=_("set one first, or you could not sign in any more"))
    SocialAccount.objects.filter(user=request.user).delete()
    return redirect("mfa_index")
