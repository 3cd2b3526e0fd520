"""What happens to accounts stands among the events, for admins: who came in, who was given or lost what, by whom."""

from __future__ import annotations

from typing import Any

from allauth.account.signals import user_logged_in
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed
from django.dispatch import receiver

from console import gateway
from console.accounts.models import User


def tell(action: str, person: User, **detail: Any) -> None:
    """Note it, by whoever the request is of."""
    gateway.note("account", action, str(person.pk), person.username, **detail)


def _is_one(authenticator: Authenticator) -> bool:
    """Recovery codes come and go with the others: one act is told once."""
    return bool(authenticator.type != Authenticator.Type.RECOVERY_CODES)


@receiver(user_logged_in)
def _came(user: User, **_more: Any) -> None:
    tell("sign_in", user, by=user.username)


@receiver(authenticator_added)
def _added(user: User, authenticator: Authenticator, **_more: Any) -> None:
    if _is_one(authenticator):
        tell("add_factor", user)


@receiver(authenticator_removed)
def _removed(user: User, authenticator: Authenticator, **_more: Any) -> None:
    if _is_one(authenticator):
        tell("remove_factor", user)
