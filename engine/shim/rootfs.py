"""The container's file systems as the host's root sees to them: idmapped layers, the overlay, volumes. All detached.

Only host root may idmap a mount, and an overlay mounted by host root keeps its marks in trusted.* where the
container cannot forge them. Needs a user namespace whose maps are written; None stands for the host's, and nothing is
idmapped. overlayfs.rst, mount_setattr(2).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Any

from engine import hostpaths
from engine.errors import InvalidRequest, Unsupported
from engine.linux import files, mount, overlayfs
from engine.linux.devices import Node


def overlay(layers: list[str], upper: str, work: str, userns_fd: int | None) -> int:
    """A detached overlay of ``layers`` (lowest first), each idmapped, below ``upper``. The caller closes it."""
    return overlayfs.create(layers, upper, work, userns_fd)


def volumes(wanted: list[dict[str, Any]], userns_fd: int | None) -> list[int]:
    """A detached, idmapped, nosuid and nodev mount of each volume and bound directory. The caller closes them."""
    found: list[int] = []
    try:
        for volume in wanted:
            attributes = mount.NOSUID | mount.NODEV | (mount.RDONLY if volume["read_only"] else 0)
            source = _source(volume)
            try:
                found.append(mount.tree("", dirfd=source, add=attributes, userns_fd=userns_fd))
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
                    raise
                raise Unsupported(
                    f"{volume['source']} cannot be mounted: its file system knows no mapped ids",
                    hint="use a directory on ext4, xfs or btrfs",
                ) from error
            finally:
                os.close(source)
    except BaseException:
        for descriptor in found:
            os.close(descriptor)
        raise
    return found


def _source(volume: dict[str, Any]) -> int:
    """What is mounted, opened. A directory in a volume is found without following what containers may have put there;
    one of the host is judged now, whatever it was when the container was created."""
    if "own" in volume:
        return hostpaths.source(volume["source"], volume["own"], read_only=volume["read_only"])
    top = os.open(volume["source"], os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not volume.get("subpath"):
        return top
    try:
        resolve = files.BENEATH | files.NO_SYMLINKS | files.NO_MAGICLINKS | files.NO_XDEV
        return files.openat2(top, volume["subpath"], os.O_PATH | os.O_DIRECTORY, resolve=resolve)
    except OSError as error:
        raise InvalidRequest(
            f"there is no directory {volume['subpath']!r} in the volume: {os.strerror(error.errno or 0)}",
            hint="make it first; links are not followed",
            field="volumes",
        ) from error
    finally:
        os.close(top)


def devices(nodes: Sequence[Node], owner: int) -> int:
    """A detached file system that holds these device files, named 0, 1 and so on, as the container root's own.

    New ones and not the host's: those belong to ids that the container does not have. The caller closes it.
    """
    store = mount.filesystem("tmpfs", [("mode", "711"), ("size", "64k")], attributes=mount.NOSUID | mount.NOEXEC)
    try:
        for number, node in enumerate(nodes):
            name, kind = str(number), stat.S_IFCHR if node.kind == "c" else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(node.major, node.minor), dir_fd=store)
            os.chmod(name, node.mode, dir_fd=store)
            os.chown(name, owner, owner, dir_fd=store)
    except BaseException:
        os.close(store)
        raise
    return store
