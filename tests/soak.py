"""How much of a test that could go on for ever is done: little in `make test`, all of it in `make soak`."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")
HOURS = float(os.environ.get("SOAK_HOURS") or 0)  # for the tests that run until a time is over
SHARE = float(os.environ.get("SOAK_SHARE") or 1)  # of a usual number, where a kernel takes ten times as long


def amount(usual: T, soak: T, least: int = 1) -> T:
    """The first for `make test`, of a number not less than ``least``; the second for `make soak`."""
    if HOURS:
        return soak
    return type(usual)(max(least, int(usual * SHARE))) if isinstance(usual, int) and SHARE < 1 else usual
