"""Slows down guessing: so many tries a minute, for one account from one address.

A try counts before the password is looked at, so that fifty at once are no more than five. Libraries that count
failures (django-axes) look first and count later: while Argon2 works, all that arrives is let through.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest


class Throttle:
    """Counts tries by key in a sliding window. In memory: one process serves the pages."""

    MOST_KEYS = 10_000  # a flood of invented names must not eat the memory; the oldest go first

    def __init__(self, tries: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._tries = tries
        self._window_s = window_s
        self._clock = clock
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def retry_after_s(self, key: str) -> int:
        """Count a try: 0 when it may go on, else the seconds to wait. A refused try does not lengthen the wait."""
        with self._lock:
            now = self._clock()
            tries = self._seen.setdefault(key, deque())
            self._seen.move_to_end(key)
            while tries and tries[0] <= now - self._window_s:
                tries.popleft()
            if len(tries) >= self._tries:
                return math.ceil(tries[0] + self._window_s - now)
            tries.append(now)
            if len(self._seen) > self.MOST_KEYS:
                self._seen.popitem(last=False)
            return 0

    def forget(self, key: str) -> None:
        """Start over for a key: its holder knew the password."""
        with self._lock:
            self._seen.pop(key, None)


tries = Throttle(tries=5, window_s=60)  # of passwords


def tries_key(request: HttpRequest, username: str) -> str:
    """What tries are counted by."""
    return f"{username.casefold()[:150]} {client_address(request)}"


def client_address(request: HttpRequest) -> str:
    """Who asks; behind the proxy the last address of X-Forwarded-For: earlier ones are the client's own words."""
    if settings.BEHIND_PROXY:
        return request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return str(request.META.get("REMOTE_ADDR", ""))
