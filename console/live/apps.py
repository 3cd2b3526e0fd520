"""Live topics over one websocket for each open page."""

from django.apps import AppConfig


class LiveConfig(AppConfig):
    """Ends sockets when their session ends."""

    name = "console.live"
    label = "live"

    def ready(self) -> None:
        """Listen for sign-outs."""
        from django.contrib.auth.signals import user_logged_out

        from console.live import hub

        user_logged_out.connect(hub.on_sign_out, dispatch_uid="console.live")
