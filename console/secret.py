"""The key that signs sessions: made once, in a file that only root reads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def read_or_make_key(path: Path) -> str:
    """The key in ``path``; makes it (0600) when it is not there. Safe when two processes begin at once."""
    try:
        return path.read_text("ascii")
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(secrets.token_urlsafe(64))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # unlike rename(2), fails when another process was first
    except FileExistsError:
        return path.read_text("ascii")
    finally:
        draft.unlink()
    return path.read_text("ascii")
