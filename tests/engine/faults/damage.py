"""Eight ways in which what is stored goes bad."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

Mutator = Callable[[bytes], bytes | None]  # None: it is missing

HUGE_BYTES = 4 * 2**20


def _flipped(data: bytes) -> bytes:
    """One bit at its beginning, which makes it no UTF-8."""
    return bytes([data[0] ^ 0x80]) + data[1:] if data else b"\x80"


def _other_version(data: bytes) -> bytes:
    """What a later Wharfie might have written: other names, and one more."""
    try:
        fields = json.loads(data)
    except ValueError:
        return b"999"
    renamed = {f"{key}_v2": value for key, value in fields.items()} if isinstance(fields, dict) else {"v2": fields}
    return json.dumps(renamed | {"version": 999}).encode()


def _wrong_types(data: bytes) -> bytes:
    """Valid JSON of the right names, in which nothing is what it should be."""
    try:
        fields = json.loads(data)
    except ValueError:
        return b"[]"
    if not isinstance(fields, dict):
        return b"[{}, 7]"
    wrong = {key: [] if isinstance(value, str | int | None) else "x" for key, value in fields.items()}
    return json.dumps(wrong).encode()


MUTATORS: dict[str, Mutator] = {
    "cut off": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "zeros": lambda data: bytes(len(data) or 1),
    "a flipped bit": _flipped,
    "of another version": _other_version,
    "huge": lambda _: b'"' + b"x" * HUGE_BYTES + b'"',
    "of the wrong type": _wrong_types,
    "missing": lambda _: None,
}


def mutate(path: Path, how: str) -> None:
    """Damage a file in place."""
    damaged = MUTATORS[how](path.read_bytes())
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged)


def lose(path: Path) -> None:
    """A directory that is gone."""
    shutil.rmtree(path)
