"""The host's side of an instance: limits of the kernel, the clock, room on the disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

from engine.doctor.findings import finding
from engine.linux.probe import Check
from engine.storage.paths import Paths

LOW_BYTES, LOW_SHARE = 2**30, 0.05  # below both a disk is called nearly full
LOW_INODES_SHARE = 0.05
LIMITS = {  # enough for a thousand containers beside the host's own processes
    "/proc/sys/kernel/pid_max": 32_768,
    "/proc/sys/kernel/threads-max": 32_768,
    "/proc/sys/fs/inotify/max_user_instances": 128,
    "/proc/sys/fs/inotify/max_user_watches": 8_192,
    "/proc/sys/user/max_user_namespaces": 1_024,
    "/proc/sys/user/max_mnt_namespaces": 1_024,
    "/proc/sys/fs/file-max": 65_536,
}
RELEASED_S = 1_760_000_000  # October 2025: a clock that shows less was never set
SKEW_S = 300  # a file from further in the future than this was written by another clock


def limits() -> Check:
    wrong = []
    for path, least in LIMITS.items():
        try:
            have = int(Path(path).read_text())
        except FileNotFoundError:  # a kernel without that limit
            continue
        if have < least:
            wrong.append(f"{path.removeprefix('/proc/sys/').replace('/', '.')} is {have}, and {least} is advised")
    return finding("kernel limits", wrong, "enough for many containers", "raise it: sysctl -w NAME=NUMBER")


def clock(paths: Paths) -> Check:
    now = time.time()
    wrong = []
    if now < RELEASED_S:
        wrong.append(f"it is {time.strftime('%Y-%m-%d', time.gmtime(now))} here")
    for path in (paths.database, paths.console_database):
        if path.exists() and path.stat().st_mtime > now + SKEW_S:
            wrong.append(f"{path.name} was written in the future")
    return finding("clock", wrong, "plausible", "set the host's clock, or have it set: timedatectl set-ntp true")


def disk(paths: Paths) -> Check:
    wrong = []
    for place in filter(Path.is_dir, (paths.root, paths.run)):
        facts = os.statvfs(place)
        free = facts.f_bavail * facts.f_frsize
        if free < LOW_BYTES and free < LOW_SHARE * facts.f_blocks * facts.f_frsize:
            wrong.append(f"{free >> 20} MiB are left for {place}")
        if facts.f_files and facts.f_favail < LOW_INODES_SHARE * facts.f_files:
            wrong.append(f"{facts.f_favail} files more can be made below {place}")
    root = os.statvfs(paths.root)
    good = f"{root.f_bavail * root.f_frsize >> 20} MiB and {root.f_favail} files are left"
    return finding("disk", wrong, good, "remove containers, images or volumes, or give it more room")
