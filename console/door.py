"""Who may open a websocket: a page of this console, of somebody who is signed in, and only as long as that is so."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import DatabaseError
from django.http import QueryDict
from django.http.request import split_domain_port, validate_host
from django.utils import translation

from console import gateway, rights
from console.live import tickets
from console.middleware import language_of, signed_in
from engine import errors

log = logging.getLogger(__name__)


class SignedInConsumer(AsyncWebsocketConsumer):
    """Lets in with the right Origin, a session and a ticket of it, and looks again every minute, and when told to.

    A consumer says what it does in `admitted`, where it accepts, in `heard`, and in `left`, which is called only after
    `admitted`, and then always: also when the server ends this without a word.
    """

    REFUSED, SIGNED_OUT, MALFORMED, CHANGED, BROKEN = 4403, 4401, 4400, 4409, 1011
    RECHECK_S = 60.0

    session_key = ""
    user: AbstractUser
    _recheck_task: asyncio.Task[None] | None = None

    async def admitted(self) -> None:
        """Accept the connection, or close it."""
        raise NotImplementedError

    async def heard(self, text: str | None, data: bytes | None) -> None:
        """One message of the page. What makes no sense may raise what Python does: `receive` ends the connection."""
        raise NotImplementedError

    async def left(self) -> None:
        """Give back what `admitted` took."""
        raise NotImplementedError

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Speak with the page until one of both ends it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Channels knows of an end by a message alone. There is none when something fails here, and it is not read
            # while the one before it is dealt with: the server cancels that. A second cancel must not stop this.
            await asyncio.shield(self._leave())

    def query(self, name: str) -> str:
        """A parameter of the address that was opened."""
        return QueryDict(self.scope.get("query_string", b"")).get(name, "")

    async def connect(self) -> None:
        """Ask all of it, then `admitted`."""
        session = self.scope.get("session")
        self.session_key = (session and await sync_to_async(lambda: session.session_key)()) or ""
        user = self.scope.get("user")
        allowed = (
            self._origin_is_ours()
            and user is not None
            and user.is_authenticated
            and tickets.redeem(self.query("ticket"), self.session_key)
        )
        if not allowed:
            await self.close(code=self.REFUSED)
            return
        self.user = user
        translation.activate(language_of(self.scope.get("cookies", {}), self._header(b"accept-language")))
        self._again, self._loop = asyncio.Event(), asyncio.get_running_loop()
        _inside.add(self)
        self._recheck_task = asyncio.create_task(self._recheck())
        await self.admitted()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """One message of the page; what makes no sense, or what cannot be answered, ends the connection."""
        try:
            await self.heard(text_data, bytes_data)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            await self.close(code=self.MALFORMED)
        except (errors.EngineError, DatabaseError) as error:  # the page comes back, and meets it or not
            log.warning("a page's connection is closed: %s", error)
            await self.close(code=self.BROKEN)

    async def _leave(self) -> None:
        """Stop looking, then `left`; once."""
        _inside.discard(self)
        looking, self._recheck_task = self._recheck_task, None
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await self.left()

    async def _recheck(self) -> None:
        """Close when the session ended or the account was switched off behind our back; and when nobody can say."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._again.wait(), self.RECHECK_S)
            self._again.clear()
            try:
                stays = await self.look()
            except Exception:
                log.exception("who is behind an open page cannot be asked: it is closed")
                await self.close(code=self.BROKEN)
                return
            if not stays:
                return

    async def look(self) -> bool:
        """Ask anew who this is. False, and closed, when nobody who may be here, or not with the same rights: the page
        comes back, and is judged by those it has now."""
        found, before = await database_sync_to_async(signed_in)(self.session_key), self.user
        if found is None:
            await self.close(code=self.SIGNED_OUT)
            return False
        if gateway.caller(found) != gateway.caller(before):
            await self.close(code=self.CHANGED)
            return False
        self.user = found
        return True

    def _header(self, name: bytes) -> str:
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == name), "")

    def _origin_is_ours(self) -> bool:
        host = self._header(b"host")
        domain, _port = split_domain_port(host)
        known = bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
        return known and tickets.same_origin(self._header(b"origin"), host, settings.SECURE)


_inside: set[SignedInConsumer] = set()


def _look_again(session_key: str | None, user_id: int | None) -> None:
    for consumer in list(_inside):
        if consumer.session_key == session_key or consumer.user.pk == user_id:
            with suppress(RuntimeError):  # its loop has ended, and it with it
                consumer._loop.call_soon_threadsafe(consumer._again.set)


rights.watch(_look_again)
