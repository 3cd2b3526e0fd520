"""What a volume is. Plain, frozen data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Volume:
    """A named directory that outlives the containers that mount it."""

    name: str
    created_at_ns: int  # Unix time
    used_by: tuple[str, ...] = ()  # names of containers that mount it
