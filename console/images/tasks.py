"""Long work on images: a thread, its progress, and its end.

Forgotten when the process ends; the engine leaves no half image.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine import Image, errors

log = logging.getLogger(__name__)

MOST_KEPT = 50  # ended tasks; the oldest go first


@dataclass
class Task:
    """One import or making of an image."""

    id: str
    title: str
    owner: int  # the user's id: nobody else's business
    again: str  # the address from which to try it once more
    started_at_ns: int = field(default_factory=time.time_ns)
    step: str = ""
    images: list[Image] | None = None
    error: errors.EngineError | None = None
    thread: threading.Thread = field(default_factory=threading.current_thread, repr=False)

    @property
    def running(self) -> bool:
        """Whether it still works."""
        return self.images is None and self.error is None


_tasks: dict[str, Task] = {}
_lock = threading.Lock()


def begin(title: str, owner: int, again: str, work: Callable[[Callable[[str], None]], list[Image]]) -> Task:
    """Run ``work(progress)`` in a thread of its own and return at once."""
    task = Task(secrets.token_urlsafe(12), title, owner, again)
    with _lock:
        _tasks[task.id] = task
        for old in [t.id for t in _tasks.values() if not t.running][:-MOST_KEPT]:
            del _tasks[old]

    def run() -> None:
        try:
            task.images = work(lambda step: setattr(task, "step", step))
        except errors.EngineError as error:
            task.error = error
        except Exception:
            log.exception("task %r", title)
            task.error = errors.KernelError("Wharfie failed here", hint="the console's log says why")

    task.thread = threading.Thread(target=run, name=f"task-{task.id}", daemon=True)
    task.thread.start()
    return task


def find(task_id: str, owner: int) -> Task:
    """The task of that id, for its owner."""
    task = _tasks.get(task_id)
    if task is None or task.owner != owner:
        raise errors.NotFound(
            "nobody works on this any more",
            hint="the console was restarted meanwhile, and keeps nothing that is half made; "
            "look whether the image is there, and begin again if it is not",
        )
    return task


def unfinished(owner: int) -> list[Task]:
    """What still works for somebody, the newest first."""
    return [task for task in reversed(_tasks.values()) if task.owner == owner and task.running]
