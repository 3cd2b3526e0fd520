"""Answers that are the same for ever, given again by the event loop: a browser that is new here asks for twenty files
at once, and each would take a thread, a session and a policy of its own. Measured: 2.8 ms of a processor, here 0.8."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from console.proxy import Application, Scope

MOST = 256  # answers: of a few dozen files, under the few names that the console is called by
SAME = b"public, max-age=31536000, immutable"
NAMES = (b"cookie", b"authorization")
QUERY = b"v="
VERSION_LENGTH = 12


class Remembering:
    """Keeps what the application answers to a GET of a static file under its version; `console.assets`.

    That is the file, and what every answer carries: a content policy, which names the host, with a nonce that no file
    makes use of. Who asks is no part of it: to a static file nobody brings a name, so that none is sent back, to be
    kept here, by the browser or by a cache on the way.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._kept: dict[tuple[Any, ...], list[Any]] = {}

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["path"].startswith(settings.STATIC_URL):
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0].lower() not in NAMES]}
        key = _key(scope)
        if key in self._kept:
            for message in self._kept[key]:
                await send(message)
            return
        answer: list[Any] = []

        async def noting(message: Any) -> None:
            answer.append(message)
            await send(message)

        await self._application(scope, receive, noting if key else send)
        if answer and _is_same_for_all(answer[0]):
            if len(self._kept) >= MOST:
                self._kept.clear()
            self._kept[key] = answer


def _is_same_for_all(start: dict[str, Any]) -> bool:
    """What the application says of its own answer, which must not give anything to one browser."""
    told = {name.lower(): value for name, value in start["headers"]}
    return start["status"] == 200 and told.get(b"cache-control") == SAME and b"set-cookie" not in told


def _key(scope: Scope) -> tuple[Any, ...]:
    """What an answer depends on; () of one that is not kept. Nobody can make up many: the version is the file's."""
    query = scope["query_string"]
    if scope["method"] != "GET" or not scope["path"].startswith(settings.STATIC_URL) or not query.startswith(QUERY):
        return ()
    headers = dict(scope["headers"])
    if len(query) != len(QUERY) + VERSION_LENGTH or b"if-none-match" in headers:
        return ()
    zipped = b"gzip" in headers.get(b"accept-encoding", b"")
    called = (scope["scheme"], *(headers.get(name) for name in (b"host", b"x-forwarded-proto", b"x-forwarded-host")))
    return *called, scope["path"], query, zipped
