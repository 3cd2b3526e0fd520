"""Live topics over one websocket for each open page."""

from django.apps import AppConfig


class LiveConfig(AppConfig):
    """Tells open pages of jobs."""

    name = "console.live"
    label = "live"

    def ready(self) -> None:
        """Listen for jobs."""
        from console.jobs import work
        from console.live.topics import jobs

        work.news.connect(jobs.on_job, dispatch_uid="console.live")
