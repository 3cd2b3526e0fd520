"""Files on their way to a browser, in pieces: neither memory nor the event loop holds a whole one."""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from engine import Outgoing

PIECE = 256 * 2**10

# What a header, or a directory of whoever keeps the file, must not hold.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class Pieces:
    """A file, read in threads. The answer closes it, sent or not."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115
        self.close = self._file.close

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece = await asyncio.to_thread(self._file.read, PIECE)
        if not piece:
            raise StopAsyncIteration
        return piece


def file(path: Path, name: str) -> StreamingHttpResponse:
    """A file of this host, to be kept under a name. OSError when it cannot be opened."""
    response = StreamingHttpResponse(Pieces(path), content_type="application/octet-stream")
    return _kept(response, name, path.stat().st_size)


def stream(source: Outgoing, name: str, size_bytes: int | None = None) -> StreamingHttpResponse:
    """What comes out of a container, to be kept under a name. What is wrong at its beginning is raised here; what
    ends it early breaks the connection (`console.server`), so that half of it is never taken for all."""
    try:
        first = source.read(PIECE)
    except BaseException:
        source.close()
        raise

    async def pieces() -> AsyncIterator[bytes]:
        data = first
        try:
            while data:
                yield data
                data = await asyncio.to_thread(source.read, PIECE)
        finally:
            await asyncio.shield(asyncio.to_thread(close))

    response = StreamingHttpResponse(pieces(), content_type="application/octet-stream")
    # Called once, by whoever comes first: the end of the pieces or, when the browser went before they began, of this.
    close = weakref.finalize(response, source.close)
    response._resource_closers.append(close)
    return _kept(response, name, size_bytes)


def _kept(response: StreamingHttpResponse, name: str, size_bytes: int | None) -> StreamingHttpResponse:
    response["Content-Disposition"] = content_disposition_header(True, _UNSAFE.sub("_", name)[-200:]) or "attachment"
    response["Content-Encoding"] = "identity"  # compressed on the way it would have no length, and most are already
    if size_bytes is not None:
        response["Content-Length"] = str(size_bytes)
    return response
