"""daphne with request bodies on disk. As it comes, it and Twisted hold each body in memory, several times over.

headers ─▶ a small body, or an import by somebody signed in?     no ─▶ 413; what still comes is thrown away
   body ─▶ a file beside the layers (Twisted) ─▶ Django reads that very file (console/asgi.py)
"""

from __future__ import annotations

import asyncio
import io
from typing import Any

# daphne first: it picks Twisted's reactor.
import daphne.server as daphne_server
from channels.db import database_sync_to_async
from daphne import http_protocol
from django.conf import settings
from django.urls import reverse
from twisted.internet import reactor

from console.middleware import signed_in

LINGER_S = 5.0  # a refused client may send on for so long; cut off at once, it would not read why

NO_LENGTH = "Send Content-Length: a body in chunks is not taken.\n"
TOO_LARGE = """\
This is too large: {limit} KiB at most are taken here.
An image is uploaded at {address} by somebody who is signed in. Sign in again, or import it by its path on the server.
"""


class Request(http_protocol.WebRequest):
    """One request; asks who sends a large body before it lets the body come."""

    refused = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Twisted would read a form of any size into memory and parse it there, in the thread that answers everybody.
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)

    def gotLength(self, length: int | None) -> None:
        """The headers are here, the body comes next; ``length`` is None when it comes in chunks."""
        super().gotLength(length)
        if length is None:  # Django reads none of it then
            self._refuse(b"411 Length Required", NO_LENGTH)
        elif length <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return
        elif self.channel._path.partition(b"?")[0].decode("latin-1") == reverse("images:import"):
            self.channel._networkProducer.pauseProducing()
            self._asking = asyncio.ensure_future(self._ask())
        else:
            self._refuse_size()

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body."""
        if not self.refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is complete."""
        if self.refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    async def _ask(self) -> None:
        key = self.received_cookies.get(settings.SESSION_COOKIE_NAME.encode(), b"").decode("latin-1")
        allowed = await database_sync_to_async(signed_in)(key)
        if self.channel is None:  # the client went
            return
        if not allowed:
            self._refuse_size()
        self.channel._networkProducer.resumeProducing()

    def _refuse_size(self) -> None:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024
        self._refuse(b"413 Content Too Large", TOO_LARGE.format(limit=limit, address=reverse("images:import")))

    def _refuse(self, status: bytes, text: str) -> None:
        self.refused = True
        self.requestHeaders.removeHeader(b"expect")  # Twisted would go on to ask for the body
        body = text.encode()
        self.channel.transport.write(
            b"HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
            b"X-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (status, len(body), body)
        )
        reactor.callLater(LINGER_S, self.channel.transport.abortConnection)


class Server(daphne_server.Server):
    """Hands the file with the body on, instead of a queue that is filled with all of it at once."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        http_protocol.WebRequest = Request  # its factory looks the class up here, and takes no other

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Start the application on a request or a websocket; returns the queue of its messages."""
        queue = super().create_application(protocol, scope)
        if scope["type"] == "http" and queue is not None:
            queue.put_nowait({"type": "http.request", "file": protocol.content})
            protocol.content = io.BytesIO()
            protocol.content.close()  # there is nothing left to queue: daphne leaves a closed body alone
        return queue
