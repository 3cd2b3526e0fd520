"""Which lines of a log somebody wants to see.

Patterns are RE2's (https://github.com/google/re2/wiki/Syntax): the time for a match grows with the text and not with
the pattern's cleverness, so that nobody can hang the process with one. A whole payload is searched at once, and only
what holds a hit is looked at line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine import errors
from engine.containers.logrows import STREAMS

_LINES = b"(?m)"  # ^ and $ are those of a line
LONGEST_PATTERN = 500  # characters
_MEMORY_BYTES = 16 << 20
# Colours, and the carriage return before a newline: nobody sees them, so they are no part of what is searched.
_UNSEEN = re.compile(rb"\x1b\[[0-9;:]*[mK]|\r(?=\n|$)")
# With these, what is true of a line in the middle of a text is not what is true of the line alone.
_ALONE = re.compile(r"\\[Az]|\(\?[a-zA-Z]*-")


class LogPattern:
    """A text or a regular expression, case ignored; InvalidRequest for one that is none."""

    def __init__(self, text: str, *, regex: bool) -> None:
        import re2  # type: ignore[import-untyped]  # loaded with the first search

        if len(text) > LONGEST_PATTERN:
            raise errors.InvalidRequest(f"a pattern has at most {LONGEST_PATTERN} characters", field="q")
        options = re2.Options()
        options.case_sensitive = False
        options.never_nl = True
        options.log_errors = False
        options.max_mem = _MEMORY_BYTES
        try:
            self._pattern: Any = re2.compile(_LINES + (text if regex else re2.escape(text)).encode(), options)
        except re2.error as error:
            why, _, where = error.args[0].replace(_LINES, b"", 1).decode("utf-8", "replace").partition(": ")
            raise errors.InvalidRequest(
                f"not a regular expression: {why} in “{where}”" if where else f"not a regular expression: {why}",
                hint="search for it as plain text, or correct it",
                field="q",
            ) from error
        self._alone = regex and _ALONE.search(text) is not None

    def hits(self, text: bytes) -> Iterator[int]:
        """The numbers of the lines that it is found in."""
        if self._alone:
            yield from (number for number, line in enumerate(text.split(b"\n")) if self._pattern.search(line))
            return
        number = at = 0
        while at <= len(text) and (match := self._pattern.search(text, at)):
            number += text.count(b"\n", at, match.start())
            yield number
            at = text.find(b"\n", match.start()) + 1
            if not at:
                return
            number += 1

    def spans(self, line: str) -> list[tuple[int, int]]:
        """(begin, end) of each place in a line where it is found, in characters."""
        data = line.encode()
        places = [match.span() for match in self._pattern.finditer(data)]
        return [(len(data[:begin].decode()), len(data[:end].decode())) for begin, end in places if begin < end]


@dataclass(frozen=True)
class Wanted:
    """All lines, unless something is said."""

    stream: str = ""  # stdout or stderr
    pattern: LogPattern | None = None
    inverse: bool = False  # those without it
    since_ns: int | None = None
    until_ns: int | None = None

    def takes(self, stream: int) -> bool:
        """Whether lines of this stream are wanted."""
        return not self.stream or STREAMS.get(stream) == self.stream

    def among(self, text: bytes) -> Iterator[tuple[int, bytes]]:
        """The wanted lines of a text, with their numbers in it."""
        if self.pattern is None:
            yield from enumerate(text.split(b"\n"))
            return
        plain = _UNSEEN.sub(b"", text) if b"\x1b" in text or b"\r" in text else text
        hits = self.pattern.hits(plain)
        if self.inverse:
            found = set(hits)
            yield from ((number, line) for number, line in enumerate(text.split(b"\n")) if number not in found)
            return
        lines: list[bytes] = []
        for number in hits:
            lines = lines or text.split(b"\n")
            yield number, lines[number]

    def takes_line(self, line: bytes) -> bool:
        """Whether this one is wanted."""
        return any(True for _ in self.among(line))


EVERYTHING = Wanted()
