"""The shells that a running container's image has, found without running anything in it."""

from __future__ import annotations

import os

from console import gateway
from engine import Caller, Container, errors

KNOWN = ("bash", "zsh", "fish", "ash", "dash", "sh")
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_PAGE = 1000
_MOST_DIRECTORIES = 6


def found(container: Container, caller: Caller) -> list[str] | None:
    """Their names, the most comfortable first; none is not the same as None: nobody could look."""
    path = next((entry[5:] for entry in reversed(container.spec.env) if entry.startswith("PATH=")), _DEFAULT_PATH)
    names: set[str] = set()
    try:
        # Where one is, the others are; each look is a process, and most images have theirs in the first place.
        for directory in dict.fromkeys(["/bin", "/usr/bin", *path.split(":")[:_MOST_DIRECTORIES]]):
            if directory.startswith("/") and not names:
                names = _in(container, os.path.normpath(directory), caller)
    except errors.EngineError:
        return None
    return [name for name in KNOWN if name in names]


def _in(container: Container, directory: str, caller: Caller) -> set[str]:
    """What of it is in this directory."""
    names: set[str] = set()
    first = 0
    while True:
        try:
            page = gateway.engine().browse.list(container.id, directory, first=first, count=_PAGE, caller=caller)
        except (errors.NotFound, errors.InvalidRequest):  # no such directory
            return names
        names |= {entry.name for entry in page.entries if entry.leads_to_file and entry.name in KNOWN}
        first += _PAGE
        if first >= page.total or not page.entries:
            return names
