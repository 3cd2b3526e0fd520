"""Sign-in, sign-out, and the setup link."""

from __future__ import annotations

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from console.accounts.forms import SetupForm, SignInForm
from console.accounts.models import SetupLink, User
from console.accounts.throttle import Throttle, client_address

sign_in_tries = Throttle(tries=5, window_s=60)


@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for name and password; five tries a minute for one name from one address."""
    target = _safe_target(request)
    if request.user.is_authenticated:
        return redirect(target)
    if request.method != "POST":
        empty = not User.objects.exists()
        return render(request, "accounts/sign_in.html", {"form": SignInForm(request), "next": target, "nobody": empty})
    key = f"{request.POST.get('username', '').casefold()[:150]} {client_address(request)}"
    wait_s = sign_in_tries.retry_after_s(key)
    if wait_s:
        form = SignInForm(request)
        text = _("Too many tries. Wait %(seconds)d s.") % {"seconds": wait_s}
        context = {"form": form, "next": target, "refused": text}
        response = render(request, "accounts/sign_in.html", context, status=429)
        response["Retry-After"] = str(wait_s)
        return response
    form = SignInForm(request, request.POST)
    if not form.is_valid():
        return render(request, "accounts/sign_in.html", {"form": form, "next": target}, status=400)
    sign_in_tries.forget(key)
    auth.login(request, form.get_user())
    return redirect(target)


@login_not_required
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End this session; its open websocket ends with it."""
    auth.logout(request)
    return redirect("accounts:sign-in")


@login_not_required
@sensitive_post_parameters("password", "again")
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """Let the holder of a good setup link choose name and password, and sign them in."""
    # Looking does not use the link up: mail scanners and browsers' previews look too.
    if not SetupLink.is_good(token):
        return render(request, "accounts/expired.html", status=410)
    known = User.objects.order_by("pk").first()
    form = SetupForm(request.POST or None, initial={"username": known.username if known else "admin"})
    context = {"form": form, "known": known}
    if request.method != "POST":
        return render(request, "accounts/setup.html", context)
    if not form.is_valid():
        return render(request, "accounts/setup.html", context, status=400)
    with transaction.atomic():
        if not SetupLink.redeem(token):
            return render(request, "accounts/expired.html", status=410)
        user = form.save()
    auth.login(request, user)
    return redirect("overview")


def _safe_target(request: HttpRequest) -> str:
    """Where to go after sign-in: a path of this console, never another site."""
    target = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        return target
    return resolve_url(settings.LOGIN_REDIRECT_URL)
