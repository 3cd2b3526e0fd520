"""How the doctor says what it found."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.linux.probe import Check

SHOWN = 3


def finding(name: str, wrong: list[str], good: str, hint: str, *, fatal: bool = False) -> Check:
    """One check of the things that are ``wrong``, the first few of which are named."""
    reasons = wrong[:SHOWN]
    if len(wrong) > SHOWN:
        reasons.append(f"{len(wrong) - SHOWN} more")
    return Check(name, not wrong, fatal, "; ".join(reasons) or good, hint if wrong else "")


def lasting(look: Callable[[], list[str]], patience_s: float = 0.0) -> list[str]:
    """What is wrong at a second look too, or at all within ``patience_s``: what comes or goes meanwhile is not."""
    wrong = look()
    until_s = time.monotonic() + patience_s
    while wrong:
        again = set(look())
        wrong = [each for each in wrong if each in again]
        if time.monotonic() >= until_s:
            break
        time.sleep(0.05)
    return wrong
