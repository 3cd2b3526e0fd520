"""A file system of the run's own under all that its tests write: ext4 with a journal, in a file.

Hosts have one; a machine for tests may have an ext4 without a journal, where each new file looks first at all that were
removed in the last seconds (Linux, fs/ext4/ialloc.c, find_inode_bit): half of the time of tests that do little else.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests import leaks

BYTES = 16 << 30  # sparse
PARENT = Path("/var/tmp")
SUFFIX = "-disk"


def place() -> Path:
    """Where tests write: no overlayfs, on which no upper lies, and no tmpfs, which Linux before 6.3 cannot idmap."""
    own = _own()
    return own if own.is_mount() else PARENT


def mount() -> None:
    """Make it; what runs that were killed have left goes first. Without loop devices, as in a guest, there is none."""
    for left in PARENT.glob(f"{leaks.NAME}*{SUFFIX}*"):
        if not leaks.is_foreign_name(left.name):
            _unmount(left)
    own = _own()
    if not Path("/dev/loop-control").exists():
        return
    own.mkdir(mode=0o755)
    image = own.with_suffix(".image")
    try:
        with image.open("wb") as file:
            file.truncate(min(BYTES, shutil.disk_usage(PARENT).free))
        how = "loop,nobarrier,discard"
        for command in (["mkfs.ext4", "-q", "-F", str(image)], ["mount", "-o", how, str(image), str(own)]):
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    finally:
        image.unlink(missing_ok=True)  # it is there for as long as it is mounted
    own.chmod(0o1777)


def unmount() -> None:
    """Take it away, with all that is in it."""
    if _own().is_dir():
        _unmount(_own())


def _own() -> Path:
    return PARENT / f"{leaks.NAME}{leaks.session()}{SUFFIX}"


def _unmount(path: Path) -> None:
    # Lazily: what still holds something there has been told as a leak.
    if path.is_dir():
        subprocess.run(["umount", "--lazy", str(path)], check=False, stdin=subprocess.DEVNULL, capture_output=True)
        shutil.rmtree(path)
    else:
        path.unlink()
