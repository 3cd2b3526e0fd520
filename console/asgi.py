"""The application that daphne serves: pages over http, live topics over one websocket."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

from django.core.asgi import get_asgi_application

http = get_asgi_application()

# These need Django set up, which the line above does.
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings

from console.live.routing import patterns
from console.proxy import believe_only

application = believe_only(
    settings.TRUSTED_PROXY,
    ProtocolTypeRouter({"http": http, "websocket": AuthMiddlewareStack(URLRouter(patterns))}),
)
