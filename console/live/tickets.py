"""One-time tickets: a page of another site can open a websocket with our cookie, but cannot fetch one of these."""

from __future__ import annotations

import secrets
import threading
import time
from urllib.parse import urlsplit

LIFETIME_S = 30.0

_tickets: dict[str, tuple[str, float]] = {}
_lock = threading.Lock()


def issue(session_key: str) -> str:
    """A ticket for one websocket of that session, good for 30 seconds."""
    ticket = secrets.token_urlsafe(24)
    now = time.monotonic()
    with _lock:
        for old in [t for t, (_session, until) in _tickets.items() if until < now]:
            del _tickets[old]
        _tickets[ticket] = (session_key, now + LIFETIME_S)
    return ticket


def redeem(ticket: str, session_key: str) -> bool:
    """Use a ticket up; true when it was good and belongs to the session."""
    with _lock:
        owner, until = _tickets.pop(ticket, ("", 0.0))
    return bool(session_key) and owner == session_key and time.monotonic() < until


def same_origin(origin: str, host: str, secure: bool) -> bool:
    """Whether an Origin header names exactly this console: scheme, host and port (RFC 6454, section 7)."""
    parts = urlsplit(origin)
    scheme = "https" if secure else "http"
    return bool(host) and origin == f"{scheme}://{host}" and parts.netloc == host
