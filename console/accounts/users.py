"""Who has an account: for admins."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console import gateway
from console.accounts import audit
from console.accounts.forms import UserForm
from console.accounts.models import SetupLink, User
from engine.errors import WrongState

View = Callable[..., HttpResponse]


def admins_only(view: View) -> View:
    """Denied to members."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **more: object) -> HttpResponse:
        gateway.for_admins(request.user, _("Users are for admins only"))
        return view(request, *args, **more)

    return guarded


@admins_only
@require_safe
def show_list(request: HttpRequest) -> HttpResponse:
    """All users."""
    factor = Authenticator.objects.filter(user=OuterRef("pk")).exclude(type=Authenticator.Type.RECOVERY_CODES)
    users = User.objects.annotate(has_factor=Exists(factor)).order_by("username")
    return render(request, "users/list.html", {"users": users})


@admins_only
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponse:
    """Make a user, with a password or with a link on which he chooses it."""
    form = UserForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return render(request, "users/create.html", {"form": form}, status=400 if form.is_bound else 200)
    person = form.save()
    audit.tell("create", person)
    if not form.cleaned_data["password"]:
        return _show_link(request, person)
    messages.success(request, _("Created user %(name)s.") % {"name": person.username})
    return redirect("users:list")


@admins_only
@require_POST
def link(request: HttpRequest, number: int) -> HttpResponse:
    """A one-time link on which the user chooses a new password."""
    return _show_link(request, get_object_or_404(User, pk=number))


def _show_link(request: HttpRequest, person: User) -> HttpResponse:
    audit.tell("link", person)
    url = request.build_absolute_uri(reverse("accounts:setup", args=[SetupLink.issue(person)]))
    hours = int(SetupLink.LIFETIME_OF_USERS.total_seconds() // 3600)
    return render(request, "users/link.html", {"person": person, "url": url, "hours": hours})


@admins_only
@require_POST
@transaction.atomic
def change(request: HttpRequest, number: int, act: str) -> HttpResponse:
    """Admin or member, on or off. Whoever is demoted or switched off loses what is open at once."""
    person = get_object_or_404(User, pk=number)
    if act in ("demote", "disable"):
        _keep_one(person)
    if act in ("promote", "demote"):
        person.is_superuser = act == "promote"
    else:
        person.is_active = act == "enable"
    person.save()
    if act == "disable":
        SetupLink.objects.filter(user=person).delete()
        person.end_sessions()
    audit.tell(act, person)
    return redirect("users:list")


@admins_only
@require_POST
def forget_factors(request: HttpRequest, number: int) -> HttpResponse:
    """For who lost phone and codes: the password alone is enough then, until a new factor is set up."""
    person = get_object_or_404(User, pk=number)
    person.forget_factors()
    audit.tell("remove_factor", person)
    messages.success(request, _("%(name)s has no second factor now.") % {"name": person.username})
    return redirect("users:list")


@admins_only
@require_http_methods(["GET", "HEAD", "POST"])
@transaction.atomic
def remove(request: HttpRequest, number: int) -> HttpResponse:
    """Say what goes, then delete the account. Containers stay."""
    person = get_object_or_404(User, pk=number)
    if request.method != "POST":
        return render(request, "users/remove.html", {"person": person})
    _keep_one(person)
    person.end_sessions()
    audit.tell("remove", person)
    person.delete()
    messages.success(request, _("Deleted user %(name)s.") % {"name": person.username})
    return gateway.go(request, reverse("users:list"))


def _keep_one(person: User) -> None:
    """WrongState when nobody would be left to make admins. Each caller is in a transaction that admits no other."""
    if person.is_last_admin():
        raise WrongState(
            _("%(name)s is the last admin") % {"name": person.username}, hint=_("make somebody else an admin first")
        )
