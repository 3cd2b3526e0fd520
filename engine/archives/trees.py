"""Directory trees by descriptor: every step is one name, found BENEATH the one before with NO_SYMLINKS."""

from __future__ import annotations

import os

from engine.linux.files import BENEATH, NO_MAGICLINKS, NO_SYMLINKS, openat2

SAFE = BENEATH | NO_SYMLINKS | NO_MAGICLINKS


def remove_tree(parent: int, name: bytes, *, resolve: int = SAFE) -> None:
    """Remove a directory and all in it."""
    directory = openat2(parent, name, os.O_RDONLY | os.O_DIRECTORY, resolve=resolve)
    try:
        for child in os.listdir(directory):
            try:
                os.unlink(child, dir_fd=directory)
            except IsADirectoryError:
                remove_tree(directory, os.fsencode(child), resolve=resolve)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=parent)
