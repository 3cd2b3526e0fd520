"""``manage.py serve``: start the console; see `console.supervisor`.

Here so that `manage.py help` lists it; manage.py itself goes there without loading Django.
"""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Passes its arguments on, untouched."""

    help = "Serve the console and keep its processes up, until Ctrl-C."
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """End with the exit code of the command."""
        from console.supervisor import main

        sys.exit(main(argv[2:]))

    def handle(self, *args: Any, **options: Any) -> None:
        """The same, for call_command."""
        from console.supervisor import main

        main(list(args))
