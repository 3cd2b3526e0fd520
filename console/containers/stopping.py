"""Stop a container from a page, which takes as long as it likes: which are being stopped, and who waits for that.

A request waits for those that are killed soon if they do not end. Longer ones, and those that nobody ever kills, are
jobs: to cancel one is to wait no longer.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.urls import reverse
from django.utils.translation import gettext as _

from console import gateway, jobs
from engine import Caller, Container

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser

SOON_S = 15.0
Patience = Callable[[], object]
_stopping: Counter[str] = Counter()
_lock = threading.Lock()


@contextmanager
def stopping(container_id: str) -> Iterator[None]:
    """While it is being stopped."""
    with _lock:
        _stopping[container_id] += 1
    try:
        yield
    finally:
        with _lock:
            _stopping[container_id] -= 1
            if not _stopping[container_id]:
                del _stopping[container_id]


def is_stopping(container_id: str) -> bool:
    """Whether anybody is."""
    return container_id in _stopping


def takes_long(container: Container) -> bool:
    """Whether it may take longer than anybody waits in front of a page."""
    return container.state.alive and not 0 <= container.spec.stop_timeout_s <= SOON_S


def stop(container: Container, caller: Caller, patience: Patience | None = None) -> None:
    """Ask it to end, and kill it when it does not within its time."""
    with stopping(container.id):
        gateway.engine().stop(container.id, caller=caller, patience=patience)


def restart(container: Container, caller: Caller, patience: Patience | None = None) -> None:
    """Stop it as `stop` does, and start it again."""
    with stopping(container.id):
        gateway.engine().restart(container.id, caller=caller, patience=patience)


ACTS = {"stop": stop, "restart": restart}


def begin(user: AbstractUser, container: Container, verb: str) -> None:
    """One of the two: on return it is done, or a job sees to it."""
    if not takes_long(container):
        ACTS[verb](container, gateway.caller(user))
    elif not is_stopping(container.id):
        title = _("Stop %(name)s") if verb == "stop" else _("Restart %(name)s")
        jobs.begin(user, title % {"name": container.name}, wait, container=container.id, verb=verb)


@jobs.repeatable(resumes=True)
def wait(job: jobs.Job, *, container: str, verb: str) -> jobs.Results:
    """Ask it to end, and wait for that."""
    found = gateway.engine().inspect(container)
    words = _("Waiting for %(name)s to end") % {"name": found.name}
    job.step(words)
    ACTS[verb](found, job.caller, lambda: job.step(words))
    return [(found.name, reverse("containers:details", args=(found.id,)))]
