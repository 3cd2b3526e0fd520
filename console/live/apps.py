"""Live topics over one websocket for each open page."""

from django.apps import AppConfig


class LiveConfig(AppConfig):
    """Ends sockets when their session ends; tells open pages of jobs."""

    name = "console.live"
    label = "live"

    def ready(self) -> None:
        """Listen for sign-outs and jobs."""
        from django.contrib.auth.signals import user_logged_out

        from console.jobs import work
        from console.live import hub
        from console.live.topics import jobs

        user_logged_out.connect(hub.on_sign_out, dispatch_uid="console.live")
        work.news.connect(jobs.on_job, dispatch_uid="console.live")
