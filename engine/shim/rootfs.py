"""The container's file systems as the host's root sees to them: idmapped layers, the overlay, volumes. All detached.

Only host root may idmap a mount, and an overlay mounted by host root keeps its marks in trusted.* where the
container cannot forge them. Needs a user namespace whose maps are written. overlayfs.rst, mount_setattr(2).
"""

from __future__ import annotations

import os
from typing import Any

from engine.linux import mount


def overlay(layers: list[str], upper: str, work: str, userns_fd: int) -> int:
    """A detached overlay of ``layers`` (lowest first), each idmapped, below ``upper``. The caller closes it."""
    lowers: list[int] = []
    try:
        for layer in reversed(layers):
            lowers.append(mount.tree(layer, add=mount.NODEV, userns_fd=userns_fd))
        options: list[tuple[str, str | None]] = [("lowerdir+", f"/proc/self/fd/{lower}") for lower in lowers]
        options += [("upperdir", _short(upper, lowers)), ("workdir", _short(work, lowers))]
        return mount.filesystem("overlay", options, attributes=mount.NODEV)
    finally:
        for lower in lowers:
            os.close(lower)


def _short(path: str, opened: list[int]) -> str:
    """A name of at most 255 bytes for a directory, since fsconfig(2) refuses longer values; closed with the rest."""
    if len(path) <= 255:
        return path
    opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    return f"/proc/self/fd/{opened[-1]}"


def volumes(wanted: list[dict[str, Any]], userns_fd: int) -> list[int]:
    """A detached, idmapped, nosuid and nodev mount of each volume. The caller closes them."""
    found: list[int] = []
    try:
        for volume in wanted:
            attributes = mount.NOSUID | mount.NODEV | (mount.RDONLY if volume["read_only"] else 0)
            found.append(mount.tree(volume["source"], add=attributes, userns_fd=userns_fd))
    except BaseException:
        for descriptor in found:
            os.close(descriptor)
        raise
    return found
