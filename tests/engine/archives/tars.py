"""Tar archives made byte by byte, so that they can be wrong in any way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

END = bytes(1024)


def octal(value: int, width: int) -> bytes:
    """A number field as most archivers write it."""
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int) -> bytes:
    """GNU's binary number field, negative too."""
    lead = b"\xff" if value < 0 else b"\x80"
    return lead + (value % 256 ** (width - 1)).to_bytes(width - 1, "big")


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    gid: bytes = b"0000000\0",
    size: bytes = b"00000000000\0",
    mtime: bytes = b"00000000001\0",
    checksum: bytes | None = None,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    device: bytes = b"0000000\x000000000\0",
    prefix: bytes = b"",
) -> bytes:
    """One header block; the checksum is right unless given."""

    def block(total: bytes) -> bytes:
        fields = (name.ljust(100, b"\0")[:100], mode, uid, gid, size, mtime, total, kind, link.ljust(100, b"\0")[:100])
        return b"".join((*fields, magic, bytes(64), device, prefix.ljust(155, b"\0"))).ljust(512, b"\0")

    return block(octal(sum(block(b" " * 8)), 7) + b" " if checksum is None else checksum)


def padded(data: bytes) -> bytes:
    """Data as they follow a header."""
    return data + bytes(-len(data) % 512)


def file(name: bytes, data: bytes = b"", **fields: bytes) -> bytes:
    """A regular file."""
    return header(name, size=octal(len(data), 12), **fields) + padded(data)


def directory(name: bytes, **fields: bytes) -> bytes:
    """A directory."""
    return header(name, b"5", **({"mode": b"0000755\0"} | fields))


def symlink(name: bytes, target: bytes, **fields: bytes) -> bytes:
    """A symbolic link."""
    return header(name, b"2", link=target, **fields)


def hardlink(name: bytes, target: bytes, **fields: bytes) -> bytes:
    """A hard link."""
    return header(name, b"1", link=target, **fields)


def record(key: bytes, value: bytes) -> bytes:
    """One pax record; its length counts its own digits."""
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length = len(b"%d" % length) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def pax(records: dict[bytes, bytes] | bytes, kind: bytes = b"x") -> bytes:
    """An extended header for the next entry, or with kind g for all."""
    data = records if isinstance(records, bytes) else b"".join(record(*item) for item in records.items())
    return header(b"pax", kind, size=octal(len(data), 12)) + padded(data)


def gnu(kind: bytes, name: bytes) -> bytes:
    """A GNU long name (L) or long link (K)."""
    data = name + b"\0"
    return header(b"././@LongLink", kind, size=octal(len(data), 12), magic=b"ustar  \0") + padded(data)


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a directory that an archive could change: kinds, modes, owners, times, content."""
    found: dict[str, tuple[object, ...]] = {}
    for where, directories, files in os.walk(root):
        for name in (".", *directories, *files):
            path = Path(where, name)
            status = path.lstat()
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[str(path)] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                status.st_nlink,
                content,
            )
    return found
