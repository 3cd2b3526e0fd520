"""Text for people, in a page or a terminal: what it must not contain, how sizes are written, what its lines hold."""

from __future__ import annotations

import re

LONGEST = 8192  # characters of one line that are shown
LARGEST = 10**17  # number of an address: what is counted with it stays what a database can hold

# ESC sequences (ECMA-48 5.4 CSI, 5.6 control strings, two-byte escapes), then what is left of C0 and C1 but tab.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")
# Bidirectional controls reorder what follows: a log line must not forge its neighbour.
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """A line without anything that could steer a terminal or turn text around."""
    text = _CONTROLS.sub("", _ESCAPES.sub("", text))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def shown(path: str) -> str:
    """A path or name of a file, any bytes but zero, as text of one line: what could steer or reorder it is escaped."""
    known = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), known.replace("\t", "\\t"))


def printed(text: str) -> str:
    """A text of several lines, the same way; tabs and ends of lines stay."""
    return _CONTROLS.sub(lambda match: match[0] if match[0] == "\n" else shown(match[0]), text.replace("\r\n", "\n"))


def size(count: float | None) -> str:
    """Bytes in units of 1024."""
    if count is None:
        return "–"
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while count >= 1024 and len(units) > 1:
        count /= 1024
        units.pop(0)
    return f"{count:.0f} {units[0]}" if count >= 10 or units[0] == "B" else f"{count:.1f} {units[0]}"


def whole(asked: str, most: int = 10**7) -> int | None:
    """The whole number from 1 to ``most`` that an address holds; None for anything else, however long it is."""
    if not asked.isascii() or not asked.isdigit() or len(asked) > len(str(LARGEST)):
        return None
    return value if 0 < (value := int(asked)) <= most else None


def lines(text: str) -> list[str]:
    """The lines of a text that are neither empty nor a # comment."""
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def sentence(text: str) -> str:
    """A message or hint as a sentence. What ends with a dot, as ``without ..`` does, keeps it as it is."""
    text = f"{text[:1].upper()}{text[1:]}"
    return text if text.endswith((".", "!", "?", "…")) or not text else f"{text}."
