"""The web process's own messages: to stderr, as ever, and to a file whose end a page shows."""

from __future__ import annotations

import logging
import time
from logging.handlers import RotatingFileHandler

from django.conf import settings

from console.text import clean

KEPT_BYTES = 2**20
TAIL_BYTES = 64 * 2**10


def keep() -> None:
    """Write them to the file from now on. For the one process that serves pages."""
    handler = RotatingFileHandler(settings.PATHS.console_log, maxBytes=KEPT_BYTES, backupCount=1, encoding="utf-8")
    settings.PATHS.console_log.chmod(0o600)
    formatter = logging.Formatter("{asctime} {levelname} {name}: {message}", "%Y-%m-%d %H:%M:%SZ", style="{")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)


def tail() -> list[str]:
    """The last lines, the oldest first."""
    try:
        with open(settings.PATHS.console_log, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return []
    return [clean(line) for line in (lines[1:] if size > TAIL_BYTES else lines) if line]
