"""Behind a TLS proxy its X-Forwarded-* headers are believed; anybody else's are words of the client's own.

ASVS 4.1.3. Without this, whoever reaches the port beside the proxy could claim https, or another's address. Nobody is
believed where the console is mounted: daphne takes that from a header of the request (Daphne-Root-Path), and Django
would put it before every address that it writes, those among them that are kept for the next who asks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


def believe_only(proxy: str, application: Application) -> Application:
    """The application; only connections from ``proxy``, an IP address ("" is nobody), bring these headers to it."""
    trusted = ipaddress.ip_address(proxy) if proxy else None

    async def filtered(scope: Scope, receive: Any, send: Any) -> None:
        scope = {**scope, "root_path": ""}
        if "headers" in scope and (trusted is None or _peer(scope) != trusted):
            headers = [pair for pair in scope["headers"] if not pair[0].lower().startswith(b"x-forwarded-")]
            scope = {**scope, "headers": headers}
        await application(scope, receive, send)

    return filtered


def _peer(scope: Scope) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    client = scope.get("client")
    if not client:
        return None
    address = ipaddress.ip_address(client[0])
    # A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d.
    return getattr(address, "ipv4_mapped", None) or address
