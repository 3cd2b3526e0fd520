"""Files on their way to a browser, in pieces: neither memory nor the event loop holds a whole one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

PIECE = 256 * 2**10


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
    response["Content-Length"] = str(path.stat().st_size)
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["Content-Encoding"] = "identity"  # compressed on the way it would have no length, and most are already
    return response
