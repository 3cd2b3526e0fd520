"""Who may use this console."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Users and setup links."""

    name = "console.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Listen to who comes in."""
        from console.accounts import audit  # noqa: F401
