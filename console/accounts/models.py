"""Accounts, one-time links, and what programs sign in with."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import AbstractUser
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class User(AbstractUser):
    """A person who may sign in. Our own class from the start: a user model cannot be exchanged later.

    ``is_superuser`` is an admin; everybody else is a member.
    """

    def is_last_admin(self) -> bool:
        """Whether nobody else could sign in and be an admin. Inside a transaction: two could go at once."""
        others = User.objects.filter(is_active=True, is_superuser=True).exclude(pk=self.pk)
        can_sign_in = ~models.Q(password__startswith="!") | models.Q(socialaccount__isnull=False)
        return self.is_active and self.is_superuser and not others.filter(can_sign_in).exists()

    def forget_factors(self) -> None:
        """Take away authenticator app, passkeys and recovery codes."""
        Authenticator.objects.filter(user=self).delete()

    def end_sessions(self) -> None:
        """Sign out everywhere, now. (What was open before sessions were listed ends with a new password.)"""
        for session in UserSession.objects.filter(user=self):
            session.end()


class SetupLink(models.Model):
    """Lets whoever holds its token choose a password, once: for its user; without one for any name, as an admin."""

    LIFETIME = timedelta(minutes=30)
    LIFETIME_OF_USERS = timedelta(hours=24)  # it goes through other hands first

    token_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True)

    def __str__(self) -> str:
        return f"setup link until {self.expires_at:%H:%M}"

    @classmethod
    def issue(cls, user: User | None = None) -> str:
        """Make a link, withdraw all earlier ones for the same, and return its token, which is stored nowhere."""
        token = secrets.token_urlsafe(32)
        lifetime = cls.LIFETIME if user is None else cls.LIFETIME_OF_USERS
        with transaction.atomic():
            cls.objects.filter(user=user).delete()
            cls.objects.create(token_hash=hashed(token), expires_at=timezone.now() + lifetime, user=user)
        return token

    @classmethod
    def find(cls, token: str) -> SetupLink | None:
        """The link, as long as its token would be accepted."""
        return cls._good(token).select_related("user").first()

    @classmethod
    def redeem(cls, token: str) -> bool:
        """Use the token up. True for one caller only, however many try at once."""
        deleted, _counts = cls._good(token).delete()
        return deleted == 1

    @classmethod
    def _good(cls, token: str) -> models.QuerySet[SetupLink]:
        return cls.objects.filter(token_hash=hashed(token), expires_at__gt=timezone.now())


class ApiToken(models.Model):
    """Signs a program in as its maker, for less than its maker may do or as much."""

    class Scope(models.TextChoices):
        """What it may be used for; each includes the one before."""

        READ = "read", _("Read: look at everything, change nothing")
        WRITE = "write", _("Write: what a member may do")
        ADMIN = "admin", _("Admin: what an admin may do")

    PREFIX = "wharfie_"  # so that scanners of source code know a leaked one

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    token_hash = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=8, choices=Scope.choices)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def issue(cls, user: User, **fields: Any) -> str:
        """Make one and return it: the only time that anybody sees it."""
        token = cls.PREFIX + secrets.token_urlsafe(32)
        cls.objects.create(user=user, token_hash=hashed(token), **fields)
        return token

    @classmethod
    def find(cls, token: str) -> ApiToken | None:
        """The one that is shown, if it still counts and its maker still may come in."""
        now = timezone.now()
        alive = models.Q(expires_at=None) | models.Q(expires_at__gt=now)
        found = cls.objects.select_related("user").filter(alive, token_hash=hashed(token), user__is_active=True).first()
        if found and (found.last_used_at is None or now - found.last_used_at > timedelta(minutes=1)):
            cls.objects.filter(pk=found.pk).update(last_used_at=now)  # not each time: a poll would write each second
        return found

    @property
    def is_over(self) -> bool:
        """Whether it has expired."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def allows(self, scope: ApiToken.Scope) -> bool:
        """Whether it may be used for that."""
        order = list(ApiToken.Scope)
        return order.index(ApiToken.Scope(self.scope)) >= order.index(scope)


def hashed(token: str) -> str:
    """How a token is stored. Fast on purpose: 256 random bits leave nothing to guess from a stolen hash."""
    return hashlib.sha256(token.encode()).hexdigest()
