"""Files on their way to a browser: read in threads, as fast as it takes them, and never as a page of ours."""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import AsyncIterator

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from engine import Outgoing

PIECE_BYTES = 2**18
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def download(stream: Outgoing, name: str, size_bytes: int | None = None) -> StreamingHttpResponse:
    """A stream as a file to keep. What is wrong at its beginning is raised here; what ends it early breaks the
    connection (`console.server`), so that half a file is never taken for a whole one."""
    try:
        first = stream.read(PIECE_BYTES)
    except BaseException:
        stream.close()
        raise

    async def pieces() -> AsyncIterator[bytes]:
        data = first
        while data:
            yield data
            data = await asyncio.to_thread(stream.read, PIECE_BYTES)

    response = StreamingHttpResponse(pieces(), content_type="application/octet-stream")
    # Called once, by whoever comes first: the end of the answer, or its loss when the browser went before it began.
    response._resource_closers.append(weakref.finalize(response, stream.close))
    response["Content-Disposition"] = content_disposition_header(True, _UNSAFE.sub("_", name)[-200:] or "download")
    if size_bytes is not None:
        response["Content-Length"] = str(size_bytes)
    return response
