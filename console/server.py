"""daphne with request bodies on disk. As it comes, it and Twisted hold each body in memory, several times over.

headers ─▶ a small body, or an upload by somebody signed in?     no ─▶ 413; what still comes is thrown away
           and is there room for it, beside those that come?     no ─▶ 507
   body ─▶ a file beside the layers (Twisted) ─▶ Django reads that very file (console/asgi.py)
 answer ─▶ a long one waits for the browser: it is not read faster than it is taken
"""

from __future__ import annotations

import asyncio
import io
from typing import Any
from urllib.parse import unquote

# daphne first: it picks Twisted's reactor.
import daphne.server as daphne_server
from channels.db import database_sync_to_async
from daphne import http_protocol
from django.conf import settings
from django.urls import Resolver404, resolve, reverse
from django.utils import translation
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _
from twisted.internet import reactor

from console import disk
from console.middleware import language_of, signed_in

MOST_BYTES = 64 * 2**30  # of an upload
LOOK_BYTES = 64 * 2**20  # of a body between two looks at the disk, which others fill too
LINGER_S = 5.0  # a refused client may send on for so long; cut off at once, it would not read why

# Who is signed in may send large files to these.
UPLOADS = {"images:import", "containers:files"}

NO_LENGTH = _("Send Content-Length: a body in chunks is not taken.")
TOO_LARGE = _("""\
This is too large: %(limit)s KiB at most are taken here.
An image is uploaded at %(address)s, and a file on the page of a container's files, by somebody who is signed in.
Sign in again; an admin can import an image by its path on the server, too.""")
NO_ROOM = _("""\
%(why)s.
Make room on the server's disk first; an admin can import an image by its path on the server, too.""")


def _view(path: bytes) -> str:
    """The name of the view that an address is of; "" of none."""
    try:
        return resolve(unquote(path.partition(b"?")[0].decode("latin-1"))).view_name
    except Resolver404:
        return ""


class _Pace:
    """Told by Twisted when enough waits to be sent (IPushProducer)."""

    def __init__(self) -> None:
        self.flows = asyncio.Event()
        self.flows.set()

    def pauseProducing(self) -> None:
        """Wait."""
        self.flows.clear()

    def resumeProducing(self) -> None:
        """Go on."""
        self.flows.set()

    def stopProducing(self) -> None:
        """Nobody is there any more: whoever waits finds that out by going on."""
        self.flows.set()


class Request(http_protocol.WebRequest):
    """One request; asks who sends a large body before it lets the body come."""

    promised = 0  # bytes of the disk, to all uploads that come now
    refused = False
    _mine = 0  # of these
    _unseen = 0  # bytes since the last look at the disk
    _pace: _Pace | None = None

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
        elif length <= MOST_BYTES and _view(self.channel._path) in UPLOADS:
            self.channel._networkProducer.pauseProducing()
            self._asking = asyncio.ensure_future(self._ask(length))
        else:
            self._refuse_size()

    async def room(self) -> None:
        """Wait until the browser has taken most of what was written; at once when it has gone."""
        if self.channel is not None and not self.finished:
            if self._pace is None:
                self._pace = _Pace()
                self.registerProducer(self._pace, True)
            await self._pace.flows.wait()

    def finish(self) -> None:
        """The answer is complete."""
        if self._pace is not None:
            self.unregisterProducer()
        self._release()
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        """The browser went."""
        self._release()
        super().connectionLost(reason)
        if self._pace is not None:
            self._pace.resumeProducing()

    def handle_exception(self, exception: BaseException) -> None:
        """The application failed. An answer that had begun is broken off: its reader must not take it for whole."""
        if not self._response_started:
            super().handle_exception(exception)
        elif self.channel is not None:
            self.channel.transport.abortConnection()

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body."""
        if self.refused:
            return
        try:
            super().handleContentChunk(data)
        except OSError as error:
            self._refuse_room(str(error))
            return
        self._unseen += len(data)
        if self._unseen >= LOOK_BYTES:
            self._unseen = 0
            if why := disk.lacking(0):
                self._refuse_room(why)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is complete."""
        if not self.refused:
            try:
                self.content.flush()
            except OSError as error:
                self._refuse_room(str(error))
        if self.refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    async def _ask(self, length: int) -> None:
        key = self.received_cookies.get(settings.SESSION_COOKIE_NAME.encode(), b"").decode("latin-1")
        allowed = await database_sync_to_async(signed_in)(key)
        if self.channel is None:  # the client went
            return
        if not allowed:
            self._refuse_size()
        elif why := disk.lacking(length, Request.promised):
            self._refuse_room(why)
        else:
            self._mine = disk.COPIES * length
            Request.promised += self._mine
        self.channel._networkProducer.resumeProducing()

    def _language(self) -> str:
        cookies = {key.decode("latin-1"): value.decode("latin-1") for key, value in self.received_cookies.items()}
        return language_of(cookies, (self.getHeader(b"accept-language") or b"").decode("latin-1"))

    def _release(self) -> None:
        Request.promised -= self._mine
        self._mine = 0

    def _refuse_room(self, why: str) -> None:
        self._refuse(b"507 Insufficient Storage", NO_ROOM, why=why)

    def _refuse_size(self) -> None:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024
        self._refuse(b"413 Content Too Large", TOO_LARGE, limit=limit, address=reverse("images:import"))

    def _refuse(self, status: bytes, text: str, **places: object) -> None:
        self.refused = True
        self.content.close()  # what came of it makes room
        self._release()
        with translation.override(self._language()):
            body = f"{gettext(text) % places}\n".encode()
        self.requestHeaders.removeHeader(b"expect")  # Twisted would go on to ask for the body
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

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """A message of the application; on return there is room for the next."""
        await super().handle_reply(protocol, message)
        if message.get("more_body"):
            await protocol.room()
