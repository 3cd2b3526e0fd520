"""Log lines on their way to a browser, and which of them a page asks for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils.dateparse import parse_datetime

from console import ansi
from engine import LogPattern, LogRow, Wanted, errors


def wanted(query: Mapping[str, Any]) -> Wanted:
    """The wish in a page's words: q, regex, inverse, stream, since and until. InvalidRequest names the field."""
    text = str(query.get("q") or "")
    since_ns, until_ns = moment(query, "since"), moment(query, "until")
    if since_ns is not None and until_ns is not None and since_ns > until_ns:
        hint = "choose an end that is later than the beginning, or none"
        raise errors.InvalidRequest("the time range is empty: it ends before it begins", hint=hint, field="until")
    stream = str(query.get("stream") or "")
    return Wanted(
        stream=stream if stream in ("stdout", "stderr") else "",
        pattern=LogPattern(text, regex=bool(query.get("regex"))) if text else None,
        inverse=bool(query.get("inverse")),
        since_ns=since_ns,
        until_ns=until_ns,
    )


def wire(row: LogRow, pattern: LogPattern | None = None) -> list[Any]:
    """A line as [place, milliseconds, "e" or "o", text]; with colours or hits the text is [[part, classes], …]."""
    parts = ansi.runs(row.text.decode("utf-8", "replace"))
    if pattern:
        parts = ansi.marked(parts, pattern.spans("".join(part for part, _classes in parts)))
    shown = parts[0][0] if len(parts) == 1 and not parts[0][1] else parts
    return [str(row.place), row.time_ns // 1_000_000, "e" if row.stream == "stderr" else "o", shown or ""]


def moment(query: Mapping[str, Any], field: str) -> int | None:
    """Unix time in ns from milliseconds, or from a date and time: UTC, unless it says."""
    text = str(query.get(field) or "")
    if not text:
        return None
    try:
        if text.isdecimal() and len(text) < 16:
            return int(text) * 1_000_000
        when = parse_datetime(text)
        if when is None:
            raise ValueError(text)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return int((when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6) * 1000
    except (ValueError, OverflowError) as error:
        raise errors.InvalidRequest(f"{text[:40]!r} is no date and time", field=field) from error
