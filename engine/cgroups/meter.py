"""The few figures of a list, of one group, read again and again: its files stay open, and of each only the number that
counts is looked at. Opening them each time costs more than all the rest."""

from __future__ import annotations

import os
from typing import NamedTuple

from engine.cgroups.counters import Usage

_MOST_BYTES = 8192  # of a file; memory.stat has 2,000


class Place(NamedTuple):
    """Where a number is: a file, and its key in it when it is not alone there."""

    path: str
    key: bytes = b""
    scale: int = 1


class Meter:
    """Open files of one group. `read` raises OSError ENODEV once the group is gone, be there another of its name."""

    def __init__(self, cpu: Place, memory: Place, inactive: Place, pids: Place, oom_kills: Place) -> None:
        self._places = (cpu, memory, inactive, pids, oom_kills)
        self._files: list[int] = []
        try:
            for place in self._places:
                self._files.append(os.open(place.path, os.O_RDONLY | os.O_CLOEXEC))
        except BaseException:
            self.close()
            raise

    def read(self) -> Usage:
        """What it uses now."""
        cpu, held, inactive, pids, oom_kills = map(_number, self._files, self._places)
        return Usage(cpu_time_ns=cpu, memory_bytes=max(0, held - inactive), pids=pids, oom_kills=oom_kills)

    def close(self) -> None:
        """Give the files back."""
        while self._files:
            os.close(self._files.pop())


def _number(file: int, place: Place) -> int:
    """One number; 0 where a flat keyed file does not have its key."""
    text = os.pread(file, _MOST_BYTES, 0)
    if not place.key:
        return int(text)
    _, found, rest = (b"\n" + text).partition(b"\n" + place.key + b" ")
    return int(rest.partition(b"\n")[0]) * place.scale if found else 0
