"""What is wrong with an instance, and what to do about it. `engine.linux.probe` asks what the host can do at all.

Looks and changes nothing; works while containers run, and when no `Engine` can be opened.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from engine.archives.tar import READ_BYTES
from engine.config import Config
from engine.containers.spec import ContainerSpec
from engine.linux import process
from engine.linux.probe import Check
from engine.names import OBJECT_ID
from engine.storage import documents, instance, snapshots
from engine.storage.database import MIGRATIONS, lenient_text
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
SHOWN = 3
_CONTAINERS = "SELECT id, name, spec, argv FROM containers"
_LAYERS = "SELECT diff_id, size_bytes FROM layers"
_VOLUMES = "SELECT name FROM volumes"


def examine(config: Config, *, deep: bool = False) -> list[Check]:
    """Every check, in an order to be read in; with ``deep`` every file of every layer is read
    too, which takes a while, and their sizes are compared."""
    paths = Paths(config)
    checks = [_limits(), _clock(paths)]
    if not paths.instance.exists():
        return [*checks, _check("store", [], f"there is none at {paths.root} yet", "")]
    unreadable = _unreadable(paths)
    checks += [_restore(paths), _directories(paths), _disk(paths), *_databases(paths, unreadable)]
    if not unreadable:  # else all that is there would be called left over
        checks += [_records(paths), _orphans(paths), *([_layers(paths)] if deep else []), _shims(paths)]
    return [*checks, _launcher(paths), _web(paths), _groups(paths), _sockets(paths)]


def _check(name: str, wrong: list[str], good: str, hint: str, *, fatal: bool = False) -> Check:
    """One check of the things that are ``wrong``, the first few of which are named."""
    more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return Check(name, not wrong, fatal, "; ".join(wrong[:SHOWN]) + more if wrong else good, hint if wrong else "")


def _limits() -> Check:
    wrong = []
    for path, least in LIMITS.items():
        try:
            have = int(Path(path).read_text())
        except FileNotFoundError:  # a kernel without that limit
            continue
        if have < least:
            wrong.append(f"{path.removeprefix('/proc/sys/').replace('/', '.')} is {have}, and {least} is advised")
    return _check("kernel limits", wrong, "enough for many containers", "raise it: sysctl -w NAME=NUMBER")


def _clock(paths: Paths) -> Check:
    now = time.time()
    wrong = []
    if now < RELEASED_S:
        wrong.append(f"it is {time.strftime('%Y-%m-%d', time.gmtime(now))} here")
    for path in (paths.database, paths.console_database):
        if path.exists() and path.stat().st_mtime > now + SKEW_S:
            wrong.append(f"{path.name} was written in the future")
    return _check("clock", wrong, "plausible", "set the host's clock, or have it set: timedatectl set-ntp true")


def _directories(paths: Paths) -> Check:
    wrong = [f"{path} is missing" for path in paths.persistent() if not path.is_dir()]
    return _check("directories", wrong, "all are there", "restore a backup; the next start makes empty ones")


def _restore(paths: Paths) -> Check:
    left = [str(path) for path in (paths.restored, *paths.root.glob(".restoring-*")) if path.exists()]
    return _check("restore", left, "none is under way", "restore again, or wait for the one that is under way")


def _disk(paths: Paths) -> Check:
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
    return _check("disk", wrong, good, "remove containers, images or volumes, or give it more room")


def _databases(paths: Paths, unreadable: str) -> Iterator[Check]:
    for path in (paths.database, paths.console_database):
        wrong = snapshots.faults(path) if path.exists() else []
        if path == paths.database and unreadable and not wrong:
            wrong = [unreadable]
        if path.exists() or wrong:
            hint = f"stop the console, and restore a backup or a copy in {paths.backups}"
            yield _check(f"{path.name}", wrong, "whole", hint, fatal=True)


def _rows(paths: Paths, query: str) -> list[tuple[str, ...]]:
    """Of state.db; sqlite3.Error when it cannot be read."""
    with closing(sqlite3.connect(f"{paths.database.as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = lenient_text
        return connection.execute(query).fetchall()


def _unreadable(paths: Paths) -> str:
    """Why state.db cannot be read; "" when it can."""
    try:
        for query in (_CONTAINERS, _LAYERS, _VOLUMES):
            _rows(paths, query)
    except sqlite3.Error as error:
        return str(error)
    return ""


def _names(directory: Path) -> list[str]:
    """What is in a directory of the store; [] when that is lost, which another check says."""
    return os.listdir(directory) if directory.is_dir() else []


def _records(paths: Paths) -> Check:
    wrong = []
    version = _rows(paths, "PRAGMA user_version")
    if version and int(version[0][0]) > len(MIGRATIONS):
        wrong.append(f"state.db has schema {version[0][0]}; this Wharfie knows {len(MIGRATIONS)} at most")
    for container_id, name, spec, argv in _rows(paths, _CONTAINERS):
        try:
            documents.load(ContainerSpec, spec)
            documents.build(tuple[str, ...], documents.parse(argv))
        except ValueError:
            wrong.append(f"what container {name} was created with cannot be read")
        if not paths.container(container_id).is_dir():
            wrong.append(f"container {name} has lost its directory")
    for diff_id, _size in _rows(paths, _LAYERS):
        if not paths.layer(diff_id).is_dir():
            wrong.append(f"layer {diff_id[:19]} is not on disk")
    for (name,) in _rows(paths, _VOLUMES):
        if not paths.volume(name).is_dir():
            wrong.append(f"volume {name} has lost its directory")
    return _check("records", wrong, "each has its files", "remove what is named and make it again; load images again")


def _orphans(paths: Paths) -> Check:
    """Directories without a row, seen twice: one may have been made or removed between two looks."""

    def look() -> set[str]:
        known = {row[0].removeprefix("sha256:") for row in _rows(paths, _LAYERS)}
        containers = {row[0] for row in _rows(paths, _CONTAINERS)}
        volumes = {row[0] for row in _rows(paths, _VOLUMES)}
        found = {f"layers/{name}" for name in _names(paths.layers) if OBJECT_ID.fullmatch(name)}
        found |= {f"containers/{name}" for name in _names(paths.containers) if OBJECT_ID.fullmatch(name)}
        found |= {f"volumes/{name}" for name in _names(paths.volumes) if not name.startswith(".")}
        pairs = (("layers", known), ("containers", containers), ("volumes", volumes))
        return found - {f"{kind}/{name}" for kind, names in pairs for name in names}

    first = look()
    wrong = sorted(first & look()) if first else []
    hint = f"the next start of the console removes layers; look into the others below {paths.root}, then delete them"
    return _check("orphaned files", wrong, "none", hint)


def _layers(paths: Paths) -> Check:
    """Every file of every layer is read: a disk that fails shows as an error. And each weighs what it did."""
    wrong, total, count = [], 0, 0
    for diff_id, size_bytes in _rows(paths, _LAYERS):
        try:
            seen = _read(paths.layer(diff_id))
        except OSError as error:
            if paths.layer(diff_id).is_dir():  # else `_records` says it, or it was removed meanwhile
                wrong.append(f"layer {diff_id[:19]}: {error.strerror}: {error.filename}")
            continue
        if seen != int(size_bytes):
            wrong.append(f"layer {diff_id[:19]} holds {seen} bytes, and {size_bytes} were unpacked")
        total, count = total + seen, count + 1
    good = f"{count} of them, {total >> 20} MiB, can be read and weigh what they did"
    return _check("layers", wrong, good, "remove the images with it; load them again")


def _read(top: Path) -> int:
    """Read all that is below a directory; the sum of its files' sizes. OSError for what cannot be read."""
    seen, inodes = 0, set()
    for _directory, _below, files, descriptor in os.fwalk(top, onerror=_raise):
        for name in files:
            facts = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if not stat.S_ISREG(facts.st_mode) or facts.st_ino in inodes:
                continue
            inodes.add(facts.st_ino)
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            try:
                while os.read(file, READ_BYTES):
                    continue
            finally:
                os.close(file)
            seen += facts.st_size
    return seen


def _raise(error: OSError) -> None:
    raise error


def _launcher(paths: Paths) -> Check:
    serves = instance.is_locked(paths.launcher_lock)
    wrong = ["it holds its lock, but its socket is gone"] if serves and not paths.launcher_socket.exists() else []
    good = "serves" if serves else "is started when something needs it"
    return _check("launcher", wrong, good, "end it (its pid: `fuser launcher.lock` in WHARFIE_RUN); another one starts")


def _web(paths: Paths) -> Check:
    """The address is written when a console starts; whether one listens there is in /proc/net."""
    try:
        address = paths.address.read_text()
    except FileNotFoundError:
        return _check("console", [], "none was started", "")
    port = int(address.rpartition(":")[2]) if address.rpartition(":")[2].isdigit() else 0
    listens = not port or any(
        int(line.split()[1].rpartition(":")[2], 16) == port and line.split()[3] == "0A"
        for table in ("tcp", "tcp6")
        if os.path.exists(f"/proc/net/{table}")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    )
    if listens or not instance.is_locked(paths.launcher_lock):
        return _check("console", [], f"serves at {address}" if listens else "does not run", "")
    return _check("console", [f"nothing listens at {address}"], "", "look at its messages; start it again")


def _runs(paths: Paths) -> Iterator[tuple[str, dict[str, int | str]]]:
    for path in paths.shims.glob("*.json"):
        try:
            record = documents.parse(path.read_bytes())
        except (FileNotFoundError, ValueError):  # it has just ended; or it is cut off
            continue
        if type(record) is dict:
            yield path.stem, record


def _lives(record: dict[str, int | str], who: str) -> bool:
    pid, started = (
        record.get("pid" if who == "init" else "shim_pid"),
        "start_time" if who == "init" else "shim_start_time",
    )
    return (
        record.get("boot_id") == process.boot_id()
        and isinstance(pid, int)
        and process.start_time(pid) == record.get(started)
    )


def _shims(paths: Paths) -> Check:
    wrong = []
    names = {row[0]: row[1] for row in _rows(paths, _CONTAINERS)}
    for container_id, record in _runs(paths):
        name = names.get(container_id)
        init, shim = _lives(record, "init"), _lives(record, "shim")
        if (init or shim) and name is None:
            wrong.append(f"container {container_id[:12]} runs (pid {record['pid']}) and is not in state.db")
        elif init and not shim:
            wrong.append(f"container {name} runs without its shim: its exit code will not be known")
        elif not init and not shim:
            wrong.append(f"the record of container {name or container_id[:12]} was left by a shim that was killed")
    return _check(
        "shims", wrong, "each container has its own", "restart the containers that are named; stop the others"
    )


def _groups(paths: Paths) -> Check:
    """Control groups of containers that do not run."""
    name = f"wharfie-{paths.instance.read_text()}"
    running = {
        container_id for container_id, record in _runs(paths) if _lives(record, "init") or _lives(record, "shim")
    }
    top = Path("/sys/fs/cgroup")
    wrong = [
        str(group)
        for place in (top, *(path for path in top.iterdir() if path.is_dir()))
        if (place / name).is_dir()
        for group in (place / name).iterdir()
        if group.is_dir() and OBJECT_ID.fullmatch(group.name) and group.name not in running
        and not (paths.shims / f"{group.name}.sock").exists()
    ]  # fmt: skip
    return _check(
        "control groups", wrong, "none without a container", "start and remove these containers, or rmdir them"
    )


def _sockets(paths: Paths) -> Check:
    """Sockets that nobody listens on, and mounts below the instance's directories: it makes none that stay."""
    listening = Path("/proc/net/unix").read_text()
    records = {container_id for container_id, _record in _runs(paths)}
    wrong = [
        f"nobody listens at {path}"
        for path in paths.shims.glob("*.sock")
        if path.name.split(".")[0] not in records and f"/{path.name}\n" not in listening
    ]
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4]
        if place.startswith((f"{paths.root}/", f"{paths.run}/")):
            wrong.append(f"something is mounted on {place}")
    return _check("sockets and mounts", wrong, "none is left over", "unmount it, or delete the socket")
