"""The container's file systems as the host's root sees to them: idmapped layers, the overlay, volumes. All detached.

Only host root may idmap a mount, and an overlay mounted by host root keeps its marks in trusted.* where the
container cannot forge them. Needs a user namespace whose maps are written. overlayfs.rst, mount_setattr(2).
"""

from __future__ import annotations

import os
from typing import Any

from engine.linux import mount, overlayfs


def overlay(layers: list[str], upper: str, work: str, userns_fd: int) -> int:
    """A detached overlay of ``layers`` (lowest first), each idmapped, below ``upper``. The caller closes it."""
    return overlayfs.create(layers, upper, work, userns_fd)


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
