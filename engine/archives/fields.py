"""The fields of tar headers and the records of pax headers: bytes in, values or a typed error out.

Sources: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re

from engine.errors import Corrupt, InvalidRequest

INT64 = 2**63
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
_TIME = re.compile(rb"(-?)([0-9]{1,12})(?:\.([0-9]{0,40}))?")
_USTAR = b"ustar\x0000"
_REFUSED_HINT = "leave that entry out, or save the image again with docker, podman or a plain tar"
_BROKEN_HINT = "make the archive again, or copy it again: it may have been cut off on its way"


def broken(why: str) -> Corrupt:
    return Corrupt(f"the archive is damaged: {why}", hint=_BROKEN_HINT)


def refused(why: str, label: str = "") -> InvalidRequest:
    """For an archive that is whole, and holds what an image cannot have or must not."""
    return InvalidRequest(f"the archive {why}" + (f": {label}" if label else ""), hint=_REFUSED_HINT, subject=label)


def verify_checksum(block: bytes) -> None:
    """Sum of all bytes with the checksum field as spaces; ancient tars summed signed chars."""
    stored = number(block[148:156], "checksum")
    rest = block[:148] + block[156:]
    unsigned = sum(rest) + 8 * 0x20
    if stored != unsigned and stored != unsigned - 256 * sum(byte > 127 for byte in rest):
        raise broken("a header's checksum is wrong")


def number(data: bytes, field: str, *, signed: bool = False) -> int:
    """Octal digits, or GNU's base-256: the first byte is 0x80 (or 0xff when negative), the rest big-endian."""
    if data[0] in (0x80, 0xFF):
        value = int.from_bytes(data[1:], "big") - (256 ** (len(data) - 1) if data[0] == 0xFF else 0)
        if not (-INT64 if signed else 0) <= value < INT64:
            raise broken(f"a header's {field} is out of range")
        return value
    match = _OCTAL.fullmatch(data)
    if not match:
        raise broken(f"a header's {field} is not a number")
    return int(match[1] or b"0", 8)


def joined_name(name: bytes, prefix: bytes, magic: bytes, block: bytes) -> bytes:
    name = name.split(b"\0", 1)[0]
    if magic != _USTAR:  # GNU keeps other things in the prefix field, v7 has none
        return name
    if block[508:] == b"tar\0":  # star keeps times behind a shorter prefix
        prefix = prefix[:131]
    prefix = prefix.split(b"\0", 1)[0]
    return prefix + b"/" + name if prefix else name


def pax_records(data: bytes) -> dict[str, bytes]:
    """Records ``LENGTH KEY=VALUE\\n`` where LENGTH counts the whole record; the last of a key wins."""
    records: dict[str, bytes] = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 8)
        digits = data[position:space] if space > position else b""
        if not digits.isdigit():
            raise broken("an extended header has no length")
        end = position + int(digits)
        key, sign, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space + 1 or data[end - 1 : end] != b"\n" or not sign or not key:
            raise broken("an extended header's length is wrong")
        name = key.decode(errors="replace")
        if name in ("path", "linkpath") and b"\0" in value:
            raise refused("has a name with a NUL byte")
        records[name] = value
        position = end
    return records


def check_global_records(records: dict[str, bytes]) -> None:
    """Global records are not applied, as containerd does not; those that no archiver writes there are refused."""
    if records.keys() & {"path", "linkpath", "size"}:
        raise refused("sets names or sizes for all its entries at once")


def pax_decimal(records: dict[str, bytes], key: str, default: int) -> int:
    if key not in records:
        return default
    digits = records[key]
    if not digits.isdigit() or len(digits) > 19 or int(digits) >= INT64:
        raise broken(f"an extended header's {key} is not a number")
    return int(digits)


def pax_time(text: bytes) -> int:
    match = _TIME.fullmatch(text)
    if not match:
        raise broken("an extended header's mtime is not a time")
    sign, seconds, fraction = match.groups()
    value = int(seconds) * 10**9 + int((fraction or b"").ljust(9, b"0")[:9])
    return -value if sign else value
