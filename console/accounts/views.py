"""Sign-in, sign-out, and one-time links."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from allauth.account.utils import perform_login
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from console.accounts import audit
from console.accounts.forms import PasswordForm, SetupForm, SignInForm
from console.accounts.models import SetupLink, User
from console.accounts.throttle import tries, tries_key


@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for name and password, five tries a minute for one name from one address; then for a second factor."""
    target = _safe_target(request)
    if request.user.is_authenticated:
        return redirect(target)
    context = {"next": target, "provider": settings.OIDC_ISSUER and settings.OIDC_NAME}
    if request.method != "POST":
        context |= {"form": SignInForm(request), "nobody": not User.objects.exists()}
        return render(request, "accounts/sign_in.html", context)
    key = tries_key(request, request.POST.get("username", ""))
    wait_s = tries.retry_after_s(key)
    if wait_s:
        text = _("Too many tries. Wait %(seconds)d s.") % {"seconds": wait_s}
        context |= {"form": SignInForm(request), "refused": text}
        response = render(request, "accounts/sign_in.html", context, status=429)
        response["Retry-After"] = str(wait_s)
        return response
    form = SignInForm(request, request.POST)
    if not form.is_valid():
        return render(request, "accounts/sign_in.html", context | {"form": form}, status=400)
    tries.forget(key)
    user = form.get_user()
    return perform_password_login(request, {"username": user.username}, Login(user=user, redirect_url=target))


@login_not_required
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End this session; its open websockets end with it. Also for who turns back at the second factor."""
    auth.logout(request)
    return redirect("accounts:sign-in")


@login_not_required
@require_POST
def to_provider(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Send the browser to the provider: by a page, since the policy lets no form end on another site."""
    response = _provider_views().login(request, provider_id)
    target = response.get("Location", "")
    if not target.startswith(("https://", "http://")):
        return response
    return render(request, "accounts/leave.html", {"target": target, "provider": settings.OIDC_NAME})


@login_not_required
def from_provider(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Whoever the provider sends back signs in."""
    response: HttpResponse = _provider_views().callback(request, provider_id)
    return response


def _provider_views() -> Any:
    """allauth's views of it. With what they import they take 5 MB, and most consoles have no provider."""
    if not settings.OIDC_ISSUER:
        raise Http404
    from allauth.socialaccount.providers.openid_connect import views

    return views


@login_not_required
@sensitive_post_parameters("password", "again")
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """Let the holder of a good link choose a password, and a name if it is root's link; and sign them in."""
    # Looking does not use the link up: mail scanners and browsers' previews look too.
    link = SetupLink.find(token)
    if link is None:
        return render(request, "accounts/expired.html", status=410)
    form: SetupForm | PasswordForm
    if link.user:
        form, known = PasswordForm(request.POST or None, user=link.user), None
    else:
        known = User.objects.order_by("pk").first()
        form = SetupForm(request.POST or None, initial={"username": known.username if known else "admin"})
    context = {"form": form, "known": known, "person": link.user}
    if request.method != "POST":
        return render(request, "accounts/setup.html", context)
    if not form.is_valid():
        return render(request, "accounts/setup.html", context, status=400)
    with transaction.atomic():
        if not SetupLink.redeem(token):
            return render(request, "accounts/expired.html", status=410)
        user = form.save()
    made = isinstance(form, SetupForm) and form.made
    audit.tell("create" if made else "password", user, by=user.username)
    if request.user.is_authenticated:  # an admin who tries the link out must not stay signed in as himself
        auth.logout(request)
    return perform_login(request, user, redirect_url=resolve_url("overview"))


def _safe_target(request: HttpRequest) -> str:
    """Where to go after sign-in: a path of this console, never another site."""
    target = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        return target
    return resolve_url(settings.LOGIN_REDIRECT_URL)
