"""``manage.py setup_link``: print a new one-time link for choosing a user name and password."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.urls import reverse

from console.accounts.models import SetupLink


def new_setup_url() -> str:
    """Issue a setup link and return its full address: below the one that `serve` wrote down.

    Only it knows how pages travel and which port was free; the variables it was given are forgotten in another shell.
    """
    try:
        address = settings.PATHS.address.read_text()
    except FileNotFoundError:  # nothing serves; or `web` does alone, with the variables of this shell
        address = f"{'https' if settings.SECURE else 'http'}://{settings.LISTEN}"
    return f"{address}{reverse('accounts:setup', args=[SetupLink.issue()])}"


class Command(BaseCommand):
    """Whoever can run this as root owns the machine, so no password is asked."""

    help = "Print a one-time link, good for 30 minutes, that makes an account or resets a password."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the link; links printed earlier stop working."""
        self.stdout.write(new_setup_url())
