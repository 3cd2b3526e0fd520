"""Who may use this console."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Users and setup links."""

    name = "console.accounts"
    label = "accounts"
