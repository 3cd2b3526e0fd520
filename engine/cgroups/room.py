"""How much memory the groups that do Wharfie's work may still use: there, and not only on the host, it can be short.

Kernel documentation: admin-guide/cgroup-v1/memory.rst, sections 2.3 and 5.2; admin-guide/cgroup-v2.rst, "Memory".
"""

from __future__ import annotations

import os
import time

from engine.cgroups.counters import UnlessGone, keyed, read_text
from engine.cgroups.manager import ENGINE_GROUP, unified_mount
from engine.errors import Overloaded

UNLIMITED_BYTES = 2**62  # v1 says "none" with the most that a counter of pages holds
LEAST_BYTES = 8 * 2**20  # a shim and what the kernel keeps of a container take 2; a request holds up to 1 in a buffer
LIMIT_LOOK_S = 1.0  # between two looks whether there is a limit at all, which most have not: ten files
FILES = {  # of the two kinds of hierarchy: the limit, what is in use, and what of that the kernel drops at need
    True: ("memory.max", "memory.current", ("inactive_file", "active_file", "slab_reclaimable")),
    False: ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
}

_unlimited: dict[str, float] = {}  # by instance: until when, by the monotonic clock, no limit is looked for


def require(instance: str) -> None:
    """Overloaded when the calling process or the engine's has hardly any memory left within a limit of its groups.

    What then begins would have something killed instead: by the kernel, and not what began.
    """
    if time.monotonic() < _unlimited.get(instance, 0.0):
        return
    mount = unified_mount() or "/sys/fs/cgroup/memory"
    limited = False
    for what, group in (("this process", own()), ("the engine", f"/wharfie-{instance}/{ENGINE_GROUP}")):
        left = None if group is None else room(mount, group)
        limited |= left is not None
        if left is not None and left < LEAST_BYTES:
            raise Overloaded(
                f"{what} is short of memory: its control group allows for {max(left, 0) // 2**10} KiB more",
                hint="try again in a moment; if that does not help, raise the group's limit",
            )
    if not limited:
        _unlimited[instance] = time.monotonic() + LIMIT_LOOK_S


def own() -> str | None:
    """The calling process's memory group below the mount point; None when it has none, or one out of sight."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _, names, path = line.rstrip("\n").split(":", 2)
            if (names == "" if unified_mount() else "memory" in names.split(",")) and not path.startswith("/.."):
                return path
    return None


def room(mount: str, group: str) -> int | None:
    """Bytes until the nearest limit of a group and of those above it; None when none of them has a limit."""
    limit_file, used_file, dropped = FILES[mount == unified_mount()]
    nearest = None
    while group.strip("/"):
        with UnlessGone():  # or without such a controller
            limit = read_text(f"{mount}{group}/{limit_file}").strip()
            if limit != "max" and int(limit) < UNLIMITED_BYTES:
                used = int(read_text(f"{mount}{group}/{used_file}"))
                kinds = keyed(read_text(f"{mount}{group}/memory.stat"))
                free = int(limit) - used + sum(kinds.get(kind, 0) for kind in dropped)
                nearest = free if nearest is None else min(nearest, free)
        group = os.path.dirname(group)
    return nearest


UNLIMITED_BYTES = 2**62  # v1 says "none" with the most that a counter of pages holds
