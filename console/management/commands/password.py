"""``manage.py password NAME``: set a user's password from the command line."""

from __future__ import annotations

import getpass
import sys
from typing import Any

from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from console.accounts.models import User
from console.migration import migrate


class Command(BaseCommand):
    """Whoever can run this as root owns the machine, so the password so far is not asked."""

    help = "Set a user's password, which ends all of his sessions. Asks for it, or reads a line from a pipe."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose, and what else was lost."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--forget-factors", action="store_true", help="take the second factor away as well")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask twice, check, set."""
        migrate()
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            known = ", ".join(User.objects.order_by("username").values_list("username", flat=True)) or "nobody"
            raise CommandError(f"there is no user {options['name']!r}; known: {known}")
        password = self._ask()
        try:
            password_validation.validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        with transaction.atomic():
            user.set_password(password)
            user.save()
            user.end_sessions()
            if options["forget_factors"]:
                user.forget_factors()
        self.stdout.write(f"The password of {user.username} is set.")

    @staticmethod
    def _ask() -> str:
        if not sys.stdin.isatty():
            return sys.stdin.readline().rstrip("\n")
        password = getpass.getpass("New password: ")
        if getpass.getpass("Again: ") != password:
            raise CommandError("the two differ")
        return password
