"""How much of a test that could go on for ever is done: little in `make test`, all of it in `make soak`."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")
HOURS = float(os.environ.get("SOAK_HOURS") or 0)  # for the tests that run until a time is over


def amount(usual: T, soak: T) -> T:
    """The first for `make test`, the second for `make soak`."""
    return soak if HOURS else usual
