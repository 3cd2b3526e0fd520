"""What the console as a whole listens to."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """The frame, its templates' tags, and commands."""

    name = "console"
    label = "console"

    def ready(self) -> None:
        """Listen to connections with the database."""
        from console import database  # noqa: F401
