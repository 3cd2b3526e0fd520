"""Requests have a thread from end to end, which the next one gets, with its connection to the database."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.utils import translation

from console.asgi import IDLE_THREADS, Handler

View = Callable[[HttpRequest], HttpResponse]
SCOPE = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}


class Site:
    """A handler with one view, and its visitors."""

    def __init__(self, view: View) -> None:
        self.handler = Handler()
        self.handler._middleware_chain = view

    async def visit(self, leaves: asyncio.Event | None = None) -> list[dict[str, Any]]:
        """One request, of somebody who may leave; what was sent."""
        sent: list[dict[str, Any]] = []
        heard = iter([{"type": "http.request", "file": io.BytesIO()}])

        async def receive() -> dict[str, Any]:
            for message in heard:
                return message
            await (leaves or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.handler(SCOPE, receive, send)
        return sent

    async def rests(self, threads: int) -> None:
        """Wait until this many threads are done with what they had."""
        async with asyncio.timeout(10):
            while len(self.handler._idle) < threads:
                await asyncio.sleep(0.01)

    def end(self) -> None:
        """Of all its threads."""
        for thread in self.handler._idle:
            thread.submit(connections.close_all)
            thread.shutdown()


async def test_the_next_request_has_the_same_thread_and_none_of_its_language() -> None:
    seen = []

    def view(_request: HttpRequest) -> HttpResponse:
        seen.append((threading.get_ident(), translation.get_language()))
        translation.activate("zh-hans")
        return HttpResponse()

    site = Site(view)
    for _ in range(3):
        assert (await site.visit())[0]["status"] == 200
        await site.rests(1)
    site.end()
    assert len({thread for thread, _language in seen}) == 1
    assert [language for _thread, language in seen] == ["en", "en", "en"]


@pytest.mark.django_db(transaction=True)
async def test_of_many_threads_some_stay_and_the_others_close_their_connections() -> None:
    crowd = 3 * IDLE_THREADS
    all_here, opened = threading.Barrier(crowd), []

    def view(_request: HttpRequest) -> HttpResponse:
        connection.ensure_connection()
        opened.append(connections["default"])  # what the proxy means in this thread
        all_here.wait(30)
        return HttpResponse()

    site = Site(view)
    await asyncio.gather(*(site.visit() for _ in range(crowd)))
    async with asyncio.timeout(10):
        while sum(each.connection is not None for each in opened) > IDLE_THREADS:
            await asyncio.sleep(0.01)
    await site.rests(IDLE_THREADS)
    assert sum(each.connection is not None for each in opened) == len(site.handler._idle) == IDLE_THREADS
    site.end()


async def test_a_view_whose_reader_has_left_ends_before_another_request_has_its_thread() -> None:
    begun, go_on, seen = threading.Event(), threading.Event(), []

    def view(_request: HttpRequest) -> HttpResponse:
        seen.append(threading.get_ident())
        if len(seen) == 1:
            begun.set()
            go_on.wait(30)
        return HttpResponse()

    site, leaves = Site(view), asyncio.Event()
    leaving = asyncio.create_task(site.visit(leaves))
    await asyncio.to_thread(begun.wait, 30)
    leaves.set()
    assert (await site.visit())[0]["status"] == 200
    go_on.set()
    await leaving
    await site.rests(2)
    site.end()
    assert len(set(seen)) == 2
