"""Accounts, and the one-time links that make the first one."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.models import AbstractUser
from django.db import models, transaction
from django.utils import timezone


class User(AbstractUser):
    """A person who may sign in. Our own class from the start: a user model cannot be exchanged later."""


class SetupLink(models.Model):
    """Lets whoever holds its token choose a user name and password, once, within 30 minutes."""

    LIFETIME = timedelta(minutes=30)

    token_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"setup link until {self.expires_at:%H:%M}"

    @classmethod
    def issue(cls) -> str:
        """Make a link, withdraw all earlier ones, and return its token, which is stored nowhere."""
        token = secrets.token_urlsafe(32)
        with transaction.atomic():
            cls.objects.all().delete()
            cls.objects.create(token_hash=_hash(token), expires_at=timezone.now() + cls.LIFETIME)
        return token

    @classmethod
    def is_good(cls, token: str) -> bool:
        """Whether the token would still be accepted."""
        return cls._good(token).exists()

    @classmethod
    def redeem(cls, token: str) -> bool:
        """Use the token up. True for one caller only, however many try at once."""
        deleted, _ = cls._good(token).delete()
        return deleted == 1

    @classmethod
    def _good(cls, token: str) -> models.QuerySet[SetupLink]:
        return cls.objects.filter(token_hash=_hash(token), expires_at__gt=timezone.now())


def _hash(token: str) -> str:
    # Fast on purpose: the token has 256 random bits, so there is nothing to guess from a stolen hash.
    return hashlib.sha256(token.encode()).hexdigest()
