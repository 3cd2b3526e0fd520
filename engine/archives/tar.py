"""A streaming tar parser: headers in, entries out. Pure: it touches no filesystem and trusts nothing.

Formats: v7, ustar, pax (POSIX.1-2017 pax, "pax Interchange Format") and GNU (GNU tar manual, "Basic Tar
Format"). Written here rather than taken from the standard library's ``tarfile``, because that one forgives:
it accepts negative sizes (CVE-2025-8194 loops on them), stops silently at a bad checksum and loads
extended headers of any length.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from engine.archives.fields import (
    INT64,
    broken,
    check_global_records,
    joined_name,
    number,
    pax_decimal,
    pax_records,
    pax_time,
    refused,
    verify_checksum,
)
from engine.errors import EngineError, InvalidRequest, Unsupported

BLOCK = 512
NAME_BYTES = 4096  # PATH_MAX
COMPONENT_BYTES = 255  # NAME_MAX
DEPTH = 256
PAX_BYTES = 2**20  # all extended headers of one entry together
ENTRIES = 2_000_000  # headers, extended ones too: an endless chain of them ends here
READ_BYTES = 2**20

# name mode uid gid size mtime checksum type linkname magic+version uname gname major minor prefix
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_ZERO = bytes(BLOCK)


class Kind(enum.Enum):
    """What an entry makes; the value is its typeflag."""

    FILE = b"0"
    HARDLINK = b"1"
    SYMLINK = b"2"
    CHARACTER = b"3"
    BLOCK = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


# "\0" is v7's file, 7 a contiguous file, to be read as any other.
_KINDS = {kind.value: kind for kind in Kind} | {b"\0": Kind.FILE, b"7": Kind.FILE}


@dataclass(frozen=True, slots=True)
class Entry:
    """One member. Names are bytes, as the kernel takes them, and not yet judged: see `components`."""

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int  # of the data that follow; 0 for all but files
    mtime_ns: int
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    vendor: dict[str, bytes] = field(default_factory=dict)  # our own pax records, WHARFIE.*; see `engine.backup`

    @property
    def label(self) -> str:
        """The name for an error message."""
        return printable(self.name)


def printable(name: bytes) -> str:
    """A name made short, and harmless in a terminal."""
    text = ascii(name.decode(errors="backslashreplace"))[1:-1]
    return text if len(text) <= 200 else f"{text[:197]}..."


def _unreadable(flag: bytes, label: str) -> EngineError:
    if flag not in _KINDS and flag != b"S":
        return refused(f"has an entry of unknown type {flag!r}", label)
    return Unsupported(f"the archive has a sparse file: {label}", hint="make it without --sparse", subject=label)


class Source(Protocol):
    """Where bytes come from. ``read`` may return fewer than asked for; b"" is the end."""

    def read(self, size: int, /) -> bytes: ...


def components(name: bytes, label: str) -> tuple[bytes, ...]:
    """A relative name as path components; () is the archive's root. InvalidRequest for one that leads out.

    "." and empty components go; "..", absolute names and NUL are refused rather than cleaned, because an
    archive that holds them was made to mislead.
    """
    if name.startswith(b"/"):
        raise InvalidRequest(
            f"the archive has an absolute name: {label}", hint="make it with relative names", subject=label
        )
    if b"\0" in name:
        raise refused("has a name with a NUL byte", label)
    if len(name) > NAME_BYTES:
        raise refused(f"has a name of {len(name)} bytes", label)
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise refused("has a name that leads out of it", label)
    if len(parts) > DEPTH:
        raise refused(f"nests more than {DEPTH} directories", label)
    if any(len(part) > COMPONENT_BYTES for part in parts):
        raise refused(f"has a file name over {COMPONENT_BYTES} bytes", label)
    return parts


class Reader:
    """Iterates over the entries of a tar stream; `chunks` gives the data of the entry it stands at.

    Data that the caller does not read are skipped. With ``end_marker`` the archive must close with its zero
    block; without, it may also end between two entries, as some image builders leave it (then a digest must
    vouch for it). After the last entry the stream stands behind the first zero block.
    """

    def __init__(self, source: Source, *, end_marker: bool = True, entries: int = ENTRIES) -> None:
        self._source = source
        self._end_marker = end_marker
        self._entries_left = entries
        self._left = 0  # bytes of the current entry's data
        self._padding = 0
        self.offset = 0  # in the stream

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            yield entry

    def chunks(self) -> Iterator[bytes]:
        """The rest of the current entry's data."""
        while self._left:
            data = self._some(min(self._left, READ_BYTES))
            self._left -= len(data)
            yield data

    def skip(self) -> None:
        """Go to the next header."""
        for _ in self.chunks():
            pass
        self._exactly(self._padding)
        self._padding = 0

    def _next(self) -> Entry | None:
        extra: dict[str, bytes] = {}
        extended = 0
        while True:
            self.skip()
            block = self._block()
            if block is None:
                if extra:
                    raise broken("it ends after an extended header")
                return None
            self._entries_left -= 1
            if self._entries_left < 0:
                raise InvalidRequest("the archive has too many entries", hint="split it into several layers")
            verify_checksum(block)
            kind = block[156:157]
            if kind not in (b"x", b"g", b"L", b"K"):
                return self._entry(block, extra)
            size = number(block[124:136], "size")
            extended += size
            if extended > PAX_BYTES:
                raise refused(f"has extended headers over {PAX_BYTES} bytes before one entry")
            self._expect(size)
            data = b"".join(self.chunks())
            if kind == b"x":
                extra |= pax_records(data)
            elif kind == b"g":
                check_global_records(pax_records(data))
            else:
                extra["path" if kind == b"L" else "linkpath"] = data.split(b"\0", 1)[0]

    def _entry(self, block: bytes, extra: dict[str, bytes]) -> Entry:
        fields = _HEADER.unpack(block)
        name, mode, uid, gid, size, mtime, _, flag, link, magic, _, _, major, minor, prefix = fields
        name = extra.get("path", joined_name(name, prefix, magic, block))
        kind = _KINDS.get(flag)
        if kind is None or any(key.startswith("GNU.sparse.") for key in extra):
            raise _unreadable(flag, printable(name))
        if flag == b"\0" and name.endswith(b"/"):
            kind = Kind.DIRECTORY  # v7 had no type for directories
        length = pax_decimal(extra, "size", number(size, "size"))
        mtime_ns = pax_time(extra["mtime"]) if "mtime" in extra else number(mtime, "mtime", signed=True) * 10**9
        if not -INT64 <= mtime_ns < INT64:
            raise broken(f"it has a time out of range: {printable(name)}")
        device = (0, 0)
        if kind in (Kind.CHARACTER, Kind.BLOCK):
            device = number(major, "device number"), number(minor, "device number")
        entry = Entry(
            name=name,
            kind=kind,
            mode=number(mode, "mode") & 0o7777,
            uid=pax_decimal(extra, "uid", number(uid, "uid")),
            gid=pax_decimal(extra, "gid", number(gid, "gid")),
            # Other kinds have no data, whatever their size says: so write and read Go's archive/tar and tarfile.
            size=length if kind is Kind.FILE else 0,
            mtime_ns=mtime_ns,
            link=extra.get("linkpath", link.split(b"\0", 1)[0]),
            device=device,
            xattrs={k.removeprefix("SCHILY.xattr."): v for k, v in extra.items() if k.startswith("SCHILY.xattr.")},
            vendor={k: v for k, v in extra.items() if k.startswith("WHARFIE.")},
        )
        self._expect(entry.size)
        return entry

    def _expect(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _block(self) -> bytes | None:
        block = self._source.read(BLOCK)
        while 0 < len(block) < BLOCK:
            more = self._source.read(BLOCK - len(block))
            if not more:
                raise broken("it ends in the middle of a header")
            block += more
        self.offset += len(block)
        if not block and self._end_marker:
            raise broken("it ends without its end marker")
        return None if not block or block == _ZERO else block

    def _some(self, size: int) -> bytes:
        data = self._source.read(size)
        if not data:
            raise broken("it ends in the middle of a file")
        self.offset += len(data)
        return data

    def _exactly(self, size: int) -> None:
        while size:
            size -= len(self._some(size))
