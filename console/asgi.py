"""The application that daphne serves: pages over http, live topics over one websocket."""

from __future__ import annotations

import os
from typing import IO, Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

import django

django.setup(set_prefix=False)

# These need Django set up, which the line above does.
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler

from console.proxy import believe_only
from console.routing import patterns


class Handler(ASGIHandler):
    """Django's, reading a request's body from the file in which `console.server` received it."""

    async def read_body(self, receive: Any) -> IO[bytes]:
        """The body; Django closes it after the answer."""
        file: IO[bytes] = (await receive())["file"]
        return file


application = believe_only(
    settings.TRUSTED_PROXY,
    ProtocolTypeRouter({"http": Handler(), "websocket": AuthMiddlewareStack(URLRouter(patterns))}),
)
