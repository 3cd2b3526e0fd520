"""Whose X-Forwarded-* headers are believed."""

from __future__ import annotations

from typing import Any

import pytest
from django.templatetags.static import static
from django.test.utils import override_script_prefix

from console.proxy import believe_only

FORWARDED = [(b"x-forwarded-proto", b"https"), (b"X-Forwarded-For", b"192.0.2.9")]
OTHERS = [(b"host", b"console.example"), (b"cookie", b"a=b")]


async def seen(proxy: str, client: tuple[str, int] | None) -> list[tuple[bytes, bytes]]:
    """The headers that reach the application."""
    found: list[dict[str, Any]] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        found.append(scope)

    await believe_only(proxy, application)({"client": client, "headers": OTHERS + FORWARDED}, None, None)
    return found[0]["headers"]


@pytest.mark.parametrize(
    ("proxy", "peer"), [("192.0.2.1", "192.0.2.1"), ("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8::1", "2001:db8:0::1")]
)
async def test_the_proxys_are(proxy: str, peer: str) -> None:
    assert await seen(proxy, (peer, 4000)) == OTHERS + FORWARDED


@pytest.mark.parametrize(
    ("proxy", "client"),
    [
        ("192.0.2.1", ("192.0.2.2", 4000)),
        ("192.0.2.1", ("127.0.0.1", 4000)),
        ("192.0.2.1", None),
        ("", ("127.0.0.1", 1)),
    ],
)
async def test_nobody_elses_are(proxy: str, client: tuple[str, int] | None) -> None:
    assert await seen(proxy, client) == OTHERS


@pytest.mark.parametrize("proxy", ["", "192.0.2.1"])
async def test_nobody_says_where_the_console_is_mounted(proxy: str) -> None:
    """Django writes it before every address; daphne takes it from a header of whoever asks."""
    found: list[dict[str, Any]] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        found.append(scope)

    scope = {"client": ("192.0.2.1", 1), "headers": OTHERS, "root_path": "https://evil.example"}
    await believe_only(proxy, application)(scope, None, None)
    assert found[0]["root_path"] == ""
    with override_script_prefix("https://evil.example/"):
        assert static("js/live.js").startswith("/static/")


async def test_what_has_no_headers_passes() -> None:
    called = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        called.append(scope["type"])

    await believe_only("", application)({"type": "lifespan"}, None, None)
    assert called == ["lifespan"]
