"""A container's log: read, search, take away. A page of lines is HTML; more of them are JSON, or come by the socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from console import gateway
from console.containers import tabs
from console.loglines import moment, wanted, wire
from console.text import whole
from engine import LogPage, LogPages, LogPlace, Wanted, errors

DRAWN = 60  # on a page: more than a screen, and each takes the browser's time before the first is seen
ROWS = 200  # for a script at a time, unless it says how many
MOST_ROWS = 1000
AT_ONCE = 20_000  # lines read in one go for a file
FIELDS = ("q", "regex", "inverse", "stream", "since", "until")


@require_safe
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """The last lines, those before a place, or those around one line."""
    engine = gateway.engine()
    container = engine.inspect(ref)
    wish = {field: request.GET[field] for field in FIELDS if request.GET.get(field)}
    context: dict[str, Any] = {"wish": wish, "line": request.GET.get("line", ""), "filter": urlencode(wish)}
    context["range"] = {field: _utc(request, field) for field in ("since", "until")}
    status = 200
    pages = engine.log_pages(container.id)
    try:
        page, chosen, newest = _page(pages, request, DRAWN)
    except (errors.InvalidRequest, errors.NotFound) as error:
        status = gateway.status_of(error)
        context |= {"wrong": gateway.sentences(error), "wrong_field": error.field or "q", "filter": ""}
        chosen = Wanted()
        page, newest = _end(pages, chosen, DRAWN), True
    context |= {"rows": [wire(row, chosen.pattern) for row in page.rows], "page": page, "newest": newest}
    return tabs.show(request, container, "logs", context, status=status)


def _utc(request: HttpRequest, field: str) -> str:
    """A bound of the time range as a browser's field takes it, in UTC."""
    try:
        time_ns = moment(request.GET, field)
        return "" if time_ns is None else datetime.fromtimestamp(time_ns // 10**9, UTC).isoformat()[:19]
    except (errors.InvalidRequest, ValueError, OverflowError, OSError):
        return ""


@require_safe
def lines(request: HttpRequest, ref: str) -> HttpResponse:
    """Some lines before or after a place."""
    engine = gateway.engine()
    try:
        count = min(whole(request.GET.get("count", "")) or ROWS, MOST_ROWS)
        page, chosen, _newest = _page(engine.log_pages(engine.inspect(ref).id), request, count)
    except (errors.InvalidRequest, errors.NotFound) as error:
        return JsonResponse({"error": gateway.sentences(error)}, status=gateway.status_of(error))
    rows = [wire(row, chosen.pattern) for row in page.rows]
    return JsonResponse({"rows": rows, "first": str(page.first), "last": str(page.last), "more": page.more})


@require_safe
def download(request: HttpRequest, ref: str) -> HttpResponse | StreamingHttpResponse:
    """The chosen lines as a file, as they were written; with ``times`` each with its time."""
    engine = gateway.engine()
    container = engine.inspect(ref)
    try:
        chosen = wanted(request.GET)
    except errors.InvalidRequest as error:
        return gateway.answer(request, error)
    pages = engine.log_pages(container.id)
    parts = _text(pages, chosen, bool(request.GET.get("times")))
    return StreamingHttpResponse(
        _in_threads(parts),
        content_type="text/plain; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{container.name}.log"',
            "X-Content-Type-Options": "nosniff",
        },
    )


def _page(pages: LogPages, request: HttpRequest, count: int) -> tuple[LogPage, Wanted, bool]:
    """What is asked for, with what filter, and whether it is the log's end, from where one can follow."""
    chosen = wanted(request.GET)
    if before := request.GET.get("before"):
        return pages.before(LogPlace.parse(before), count, chosen), chosen, False
    if after := request.GET.get("after"):
        return pages.after(LogPlace.parse(after), count, chosen, ended=pages.ended), chosen, False
    if line := request.GET.get("line"):
        place = LogPlace.parse(line)
        older = pages.before(place, count // 2, chosen)
        newer = pages.after(place._replace(line=place.line - 1), count // 2, chosen, ended=pages.ended)
        if newer.lost:
            raise errors.NotFound(_("This line is not in the log any more"), hint=_("it was rotated away"))
        rows = older.rows + newer.rows
        return LogPage(rows, older.first, newer.last, older.more), chosen, False
    return _end(pages, chosen, count), chosen, chosen.until_ns is None


def _end(pages: LogPages, chosen: Wanted, count: int) -> LogPage:
    ended = pages.ended
    return pages.before(None, count, chosen, ended=ended)


def _text(pages: LogPages, chosen: Wanted, times: bool) -> Iterator[bytes]:
    """All of it up to where the log ends now: a container that floods it must not make a file without end."""
    ended, end = pages.ended, pages.end()
    page = pages.after(None, AT_ONCE, chosen, ended=ended)
    while True:
        rows = [row for row in page.rows if ended or row.place < end]
        yield b"".join((_stamp(row.time_ns) if times else b"") + row.text + b"\n" for row in rows)
        if not page.more or (not ended and page.last >= end):
            return
        page = pages.after(page.last, AT_ONCE, chosen, ended=ended)


def _stamp(time_ns: int) -> bytes:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds").encode() + b" "


async def _in_threads(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        if part:
            yield part
