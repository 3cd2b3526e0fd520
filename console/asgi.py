"""The application that daphne serves: pages over http, live topics over one websocket."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

import django

django.setup(set_prefix=False)

# These need Django set up, which the line above does.
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.http import HttpRequest, HttpResponseBase

from console.fileserver import FileServer
from console.proxy import believe_only
from console.routing import patterns

IDLE_THREADS = 8  # kept for the next requests, each with its connection to the database


class Handler(ASGIHandler):
    """Django's, reading a request's body from the file in which `console.server` received it.

    Middleware and views are plain functions here, so that a request has one thread from end to end. Django's own way
    goes back to the event loop between the two: four changes of threads, each of which may wait for whoever computes.
    And it makes two threads and a connection to the database for each request; here the next request has the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self._idle: deque[ThreadPoolExecutor] = deque()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        thread = self._idle.pop() if self._idle else ThreadPoolExecutor(max_workers=1, thread_name_prefix="request")
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self.handle(scope, receive, send)
        finally:
            # Its turn comes when all before it is done: a view goes on when its browser has left.
            thread.submit(int).add_done_callback(lambda _done: self._rest(thread))

    def _rest(self, thread: ThreadPoolExecutor) -> None:
        if len(self._idle) < IDLE_THREADS:
            self._idle.append(thread)
        else:
            thread.submit(connections.close_all)  # its own: with the thread alone they would wait for the collector
            thread.shutdown(wait=False)

    def load_middleware(self, is_async: bool = False) -> None:
        """As under WSGI."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The answer, made in the request's thread."""
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)

    async def read_body(self, receive: Any) -> IO[bytes]:
        """The body; Django closes it after the answer."""
        file: IO[bytes] = (await receive())["file"]
        return file


application = believe_only(
    settings.TRUSTED_PROXY,
    ProtocolTypeRouter({"http": FileServer(Handler()), "websocket": AuthMiddlewareStack(URLRouter(patterns))}),
)
