"""Which shared libraries an ELF file asks for; elf(5). Just enough for 64-bit little-endian files of this host."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB = 1, 5


@dataclass(frozen=True, slots=True)
class Needs:
    """What the dynamic linker has to find."""

    interpreter: str  # "" in a library
    libraries: tuple[str, ...]  # by soname


def needs(path: Path) -> Needs | None:
    """The needs of a file, or None when it is not an ELF file that this parser reads."""
    with path.open("rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            return None
        data = head + file.read()
    offset, size, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQ", data, offset + size * number) for number in range(count)]
    interpreter = ""
    dynamic: list[tuple[int, int]] = []
    for kind, _flags, start, _address, _physical, length in segments:
        if kind == _PT_INTERP:
            interpreter = os.fsdecode(data[start : start + length].split(b"\0", 1)[0])
        elif kind == _PT_DYNAMIC:
            dynamic = list(struct.iter_unpack("<qQ", data[start : start + length - length % 16]))
    table = next((value for tag, value in dynamic if tag == _DT_STRTAB), None)
    if table is None:
        return Needs(interpreter, ())
    base = next(
        table - address + start
        for kind, _flags, start, address, _physical, length in segments
        if kind == _PT_LOAD and address <= table < address + length
    )
    wanted = [base + value for tag, value in dynamic if tag == _DT_NEEDED]
    return Needs(interpreter, tuple(os.fsdecode(data[at : data.index(b"\0", at)]) for at in wanted))
