"""The jobs of who looks, for admins all: how far each is, and that one has begun or ended.

page: {"sub": "jobs"}      server: {"topic": "jobs", "version": n, "of": {id: {"step", "done", "total", "words"}}}

Another version means another status of some job: the page fetches what it shows. A job's log it reads for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any

from console.jobs import running
from console.jobs.models import Record
from console.live.topic import Page, Topic
from console.templatetags.jobs import job_figures

SETTLE_S = 0.25

_watching: set[Jobs] = set()
_versions = itertools.count(1)


class Jobs(Topic):
    """Told by the jobs' threads."""

    name = "jobs"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._loop = asyncio.get_running_loop()
        self._version = 0
        self._due = False

    async def subscribe(self, wish: dict[str, Any]) -> None:
        """What has begun or ended since the page was made, nobody has told it: the first frame has a version too."""
        self._version = next(_versions)
        _watching.add(self)
        self._tell()

    async def unsubscribe(self) -> None:
        """Listen no more."""
        _watching.discard(self)

    def hear(self, record: Record, changed: bool) -> None:
        """From any thread."""
        user = self.page.user
        if not (user.is_superuser or record.owner_id == user.pk):
            return
        if changed:
            self._version = next(_versions)
        if not self._due:
            self._due = True
            with contextlib.suppress(RuntimeError):  # the loop ended meanwhile, and its sockets with it
                self._loop.call_soon_threadsafe(self._loop.call_later, SETTLE_S, self._tell)

    def _tell(self) -> None:
        self._due = False
        if self not in _watching:
            return
        user = self.page.user
        of = {
            record.pk: {"step": record.step, "done": record.done, "total": record.total, "words": job_figures(record)}
            for record in running.at_work()
            if user.is_superuser or record.owner_id == user.pk
        }
        self.page.put(self.name, {"version": self._version, "of": of})


def on_job(sender: Any, record: Record, changed: bool, **_kwargs: Any) -> None:
    """A job went on; called in its thread."""
    for topic in list(_watching):
        topic.hear(record, changed)
