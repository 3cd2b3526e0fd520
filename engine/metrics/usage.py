"""What takes the disk's room, by object: every file's allocated blocks, hard links counted once."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

from engine.metrics.spec import DiskUsage
from engine.storage.database import Database
from engine.storage.paths import Paths

BLOCK = 512  # bytes of st_blocks, whatever the file system's own; stat(2)
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # removed, or another thing by now
DEEPEST = 200  # directories; each costs a descriptor while one is inside. What lies deeper is not counted


def usage(paths: Paths, database: Database) -> DiskUsage:
    """Look at all of the store. What is removed meanwhile counts as far as it was seen."""
    containers = [row["id"] for row in database.rows("SELECT id FROM containers")]
    volumes = [row["name"] for row in database.rows("SELECT name FROM volumes")]
    logs = {container_id: tree_bytes(paths.log(container_id)) for container_id in containers}
    return DiskUsage(
        containers={each: max(0, tree_bytes(paths.container(each)) - logs[each]) for each in containers},
        logs=logs,
        volumes={name: tree_bytes(paths.volume(name)) for name in volumes},
        images=tree_bytes(paths.layers),
        own=sum(map(tree_bytes, (paths.backups, paths.jobs, paths.tmp, paths.trash)))
        + sum(_file_bytes(path) for path in paths.root.glob("*.db*")),
        taken_at_ns=time.time_ns(),
    )


def tree_bytes(top: Path) -> int:
    """All that is below a directory, itself included; 0 without one.

    Containers write in some of them: each step is one name from a descriptor, and no link is followed.
    """
    try:
        descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    facts = os.fstat(descriptor)
    return facts.st_blocks * BLOCK + _below(descriptor, facts.st_dev, set(), DEEPEST)


def _below(directory: int, device: int, seen: set[int], deeper: int) -> int:
    """What is in a directory; closes it. Other file systems that are mounted there are not this disk's."""
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    facts = entry.stat(follow_symlinks=False)
                    if facts.st_dev != device or (facts.st_nlink > 1 and _again(facts, seen)):
                        continue
                    total += facts.st_blocks * BLOCK
                    if stat.S_ISDIR(facts.st_mode) and deeper:
                        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                        total += _below(os.open(entry.name, flags, dir_fd=directory), device, seen, deeper - 1)
                except OSError as error:
                    if error.errno not in GONE:
                        raise
    finally:
        os.close(directory)
    return total


def _again(facts: os.stat_result, seen: set[int]) -> bool:
    if stat.S_ISDIR(facts.st_mode):
        return False
    known = facts.st_ino in seen
    seen.add(facts.st_ino)
    return known


def _file_bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * BLOCK
    except FileNotFoundError:
        return 0
