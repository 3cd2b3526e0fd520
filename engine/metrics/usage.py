"""What takes the disk's room, by object: every file's allocated blocks, hard links counted once."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from engine.archives.trees import BLOCK, TreeCount
from engine.metrics.spec import DiskUsage, TreeSize
from engine.storage.database import Database
from engine.storage.paths import Paths


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
    """All that is below a directory, itself included; 0 without one."""
    return size([top]).bytes


def size(tops: Iterable[Path], timeout_s: float = float("inf")) -> TreeSize:
    """The same of several, as far as the time reaches."""
    count = TreeCount(timeout_s)
    for top in tops:
        with contextlib.suppress(FileNotFoundError):
            count.add(os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
    return TreeSize(count.bytes, count.entries, count.whole)


def _file_bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * BLOCK
    except FileNotFoundError:
        return 0
