"""Writes tar: the inverse of `engine.archives.tar`. Pure: entries and data in, bytes out.

POSIX.1-2017 pax, "pax Interchange Format": ustar headers, and before one whose fields do not fit an extended header.
Times are whole seconds, as Docker's archives have them.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.archives.tar import BLOCK, Entry, Kind

NAME_FIELD = 100  # bytes of a name or link in a ustar header
ID_LIMIT = 8**7  # what seven octal digits cannot say
SIZE_LIMIT = 8**11

Sink = Callable[[bytes], object]


class Writer:
    """One archive, written to ``sink`` as it is made. After `entry` of a file its ``size`` bytes go through `data`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._left = 0
        self._padding = 0

    def entry(self, entry: Entry) -> None:
        """Begin the next member. The one before must have got all its data."""
        self._end_of_data()
        records = _records(entry)
        if records:
            body = b"".join(_record(key, value) for key, value in records.items())
            name = b"PaxHeaders/" + entry.name.rstrip(b"/").rpartition(b"/")[2][:80]
            self._sink(_header(name, b"x", 0o644, 0, 0, len(body), 0) + body + bytes(-len(body) % BLOCK))
        size = entry.size if entry.kind is Kind.FILE else 0
        self._sink(
            _header(
                entry.name[:NAME_FIELD],
                entry.kind.value,
                entry.mode,
                entry.uid if entry.uid < ID_LIMIT else 0,
                entry.gid if entry.gid < ID_LIMIT else 0,
                size if size < SIZE_LIMIT else 0,
                max(0, entry.mtime_ns // 10**9),
                entry.link[:NAME_FIELD],
                entry.device,
            )
        )
        self._left, self._padding = size, -size % BLOCK

    def data(self, data: bytes) -> None:
        """Some of the current file's data."""
        if len(data) > self._left:
            raise ValueError("more data than the entry's size")
        self._left -= len(data)
        self._sink(data)

    def end(self) -> None:
        """The end marker."""
        self._end_of_data()
        self._sink(bytes(2 * BLOCK))

    def _end_of_data(self) -> None:
        if self._left:
            raise ValueError("less data than the entry's size")
        if self._padding:
            self._sink(bytes(self._padding))
            self._padding = 0


def _records(entry: Entry) -> dict[str, bytes]:
    """What a ustar header cannot say. Names that are no ASCII too: what code page a ustar name has is nowhere said."""
    records: dict[str, bytes] = {}
    for key, text in (("path", entry.name), ("linkpath", entry.link)):
        if len(text) > NAME_FIELD or not text.isascii():
            records[key] = text
    for key, value in (("uid", entry.uid), ("gid", entry.gid)):
        if value >= ID_LIMIT:
            records[key] = b"%d" % value
    if entry.kind is Kind.FILE and entry.size >= SIZE_LIMIT:
        records["size"] = b"%d" % entry.size
    if entry.mtime_ns < 0:
        records["mtime"] = b"%d" % (entry.mtime_ns // 10**9)
    records |= {f"SCHILY.xattr.{name}": value for name, value in sorted(entry.xattrs.items())}
    if any(not _is_text(value) for key, value in records.items() if key in ("path", "linkpath")):
        records = {"hdrcharset": b"BINARY"} | records
    return records


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _record(key: str, value: bytes) -> bytes:
    """``LENGTH KEY=VALUE\\n``, where the length counts its own digits too."""
    rest = b" " + key.encode(errors="surrogateescape") + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def _header(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, link: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:  # fmt: skip
    head = name.ljust(NAME_FIELD, b"\0")
    head += b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, size, min(mtime, SIZE_LIMIT - 1))
    tail = kind + link.ljust(NAME_FIELD, b"\0") + b"ustar\x0000" + bytes(64)
    tail += b"%07o\0%07o\0" % device + bytes(167)
    return head + b"%06o\0 " % (sum(head) + 8 * 0x20 + sum(tail)) + tail
