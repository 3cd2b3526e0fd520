"""Somebody who is signed in, without a browser: pages over HTTP, and websockets (RFC 6455)."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import struct
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, Request, build_opener

NAME, PASSWORD = "captain", "a long and quiet harbour"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FINAL, MASKED = 0x80, 0x80


class Visitor:
    """Whoever followed the link that makes the first account."""

    def __init__(self, link: str) -> None:
        self.address = link.partition("/setup/")[0]
        self._cookies = CookieJar()
        self._browser = build_opener(HTTPCookieProcessor(self._cookies))
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self._browser.open(link).read().decode())
        if found is None:
            raise AssertionError("the link leads to no form")
        fields = {"username": NAME, "password": PASSWORD, "again": PASSWORD, "csrfmiddlewaretoken": found[1]}
        self._browser.open(link, urlencode(fields).encode()).read()

    def get(self, path: str) -> str:
        """A page."""
        text: str = self._browser.open(self.address + path).read().decode()
        return text

    def ticket(self) -> str:
        """For one websocket."""
        found = re.search('name="csrf" content="([^"]+)"', self.get("/jobs/"))
        if found is None:
            raise AssertionError("the page has no token")
        request = Request(f"{self.address}/live/ticket/", b"", {"X-CSRFToken": found[1], "Accept": "application/json"})
        ticket: str = json.load(self._browser.open(request))["ticket"]
        return ticket

    async def open(self, path: str) -> Socket:
        """A websocket, as an open page has one."""
        ticket = await asyncio.to_thread(self.ticket)
        where = urlsplit(self.address)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        cookies = "; ".join(f"{each.name}={each.value}" for each in self._cookies)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {path}?ticket={ticket} HTTP/1.1\r\nHost: {where.netloc}\r\nOrigin: {self.address}\r\n"
            f"Cookie: {cookies}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise AssertionError(answer.decode())
        return Socket(reader, writer)


class Socket:
    """One websocket. The server splits no message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def say(self, message: dict[str, Any]) -> None:
        """A message of the page."""
        self._send(TEXT, json.dumps(message).encode())

    def type(self, data: bytes) -> None:
        """Keys, in a terminal."""
        self._send(BINARY, data)

    async def hear(self) -> bytes:
        """The server's next message."""
        while True:
            head, length = await self._reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await self._reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
            data = await self._reader.readexactly(length)
            kind = head & 0x0F
            if kind in (TEXT, BINARY):
                return data
            if kind == CLOSE:
                raise ConnectionError(f"the server closed the websocket: {data!r}")
            if kind == PING:
                self._send(PONG, data)

    async def close(self) -> None:
        """Go."""
        self._writer.close()
        await self._writer.wait_closed()

    def _send(self, kind: int, data: bytes) -> None:
        # The mask may be anything, zero too, which leaves the data as they are.
        length = (
            struct.pack("!B", MASKED | len(data)) if len(data) < 126 else struct.pack("!BH", MASKED | 126, len(data))
        )
        self._writer.write(bytes([FINAL | kind]) + length + bytes(4) + data)
