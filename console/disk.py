"""The disk that Wharfie is on: how full it is, and what fills it."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _

from console import gateway, text
from engine import DiskUsage, errors

log = logging.getLogger(__name__)

FULL_SHARE, FULL_BYTES = 0.90, 2 * 2**30  # from there on, or with less left, every page says so
KEPT_SHARE, KEPT_BYTES = 0.05, 256 * 2**20  # no upload takes these, so that stopping and removing still work
COPIES = 2  # of an upload, for a while: as it came, and the file in it
COUNTED_S = 300.0  # how old the count of what fills it may be when somebody looks


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of the disk, as far as somebody other than the kernel may use them."""

    used: int
    free: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.used + self.free

    @property
    def nearly_full(self) -> bool:
        """Whether something has to be done now."""
        return self.used >= FULL_SHARE * self.total or self.free < FULL_BYTES


def room() -> Room:
    """Of the disk that WHARFIE_ROOT is on, now. One system call."""
    facts = os.statvfs(settings.PATHS.root)
    return Room((facts.f_blocks - facts.f_bfree) * facts.f_frsize, facts.f_bavail * facts.f_frsize)


def lacking(upload: int, promised: int = 0) -> str:
    """Why an upload of so many bytes has no room beside what others were promised; "" when it has."""
    now = room()
    free = now.free - promised - int(min(KEPT_BYTES, KEPT_SHARE * now.total))
    if COPIES * upload <= free:
        return ""
    return _("There is no room for this upload: it takes %(need)s for a while, and %(free)s are free") % {
        "need": text.size(COPIES * upload),
        "free": text.size(max(0, free)),
    }


def require_room(announced: str) -> None:
    """InvalidRequest when an upload of so many bytes, as a page announces them, has no room."""
    if announced.isascii() and announced.isdigit() and (why := lacking(int(announced[:18]))):
        raise errors.InvalidRequest(why, hint=_("make room on the server's disk first"), field="upload")


def frame(request: HttpRequest) -> dict[str, Any]:
    """For the frame of every page, which warns."""
    return {"disk_room": room}


class Counter:
    """Counts what fills the disk in a thread, at most once in a while, whoever asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: DiskUsage | None = None
        self._due_s = 0.0
        self._counts = False

    def latest(self) -> DiskUsage | None:
        """The last count, None before the first one has ended. Never waits; begins another one when it is old."""
        with self._lock:
            if not self._counts and time.monotonic() >= self._due_s:
                self._counts = True
                threading.Thread(target=self._count, name="disk-usage", daemon=True).start()
            return self._last

    def again(self) -> None:
        """Count anew, unless it does so just now: somebody has made room, and wants to see it."""
        with self._lock:
            self._due_s = 0.0
        self.latest()

    @property
    def counts(self) -> bool:
        """Whether it is counting now."""
        with self._lock:
            return self._counts

    def _count(self) -> None:
        found, began_s = None, time.monotonic()
        try:
            found = gateway.engine().disk_usage()
        except errors.EngineError as error:
            log.warning("counting what fills the disk: %s", error)
        with self._lock:
            self._last = found or self._last
            self._counts = False
            # A store that takes a minute to look through is looked through once in ten.
            self._due_s = time.monotonic() + max(COUNTED_S, 10 * (time.monotonic() - began_s))


counter = Counter()
