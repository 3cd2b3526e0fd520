"""What is below WHARFIE_ROOT: directories, databases, and whether rows and files belong together."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from engine.archives.tar import READ_BYTES
from engine.containers.spec import ContainerSpec
from engine.doctor.findings import finding, lasting
from engine.doctor.rows import CONTAINERS, LAYERS, VOLUMES, rows
from engine.linux.probe import Check
from engine.names import OBJECT_ID
from engine.storage import documents, snapshots
from engine.storage.database import MIGRATIONS
from engine.storage.paths import Paths


def directories(paths: Paths) -> Check:
    wrong = [f"{path} is missing" for path in paths.persistent() if not path.is_dir()]
    return finding("directories", wrong, "all are there", "restore a backup; the next start makes empty ones")


def restore(paths: Paths) -> Check:
    left = [str(path) for path in (paths.restored, *paths.root.glob(".restoring-*")) if path.exists()]
    return finding("restore", left, "none is under way", "restore again, or wait for the one that is under way")


def databases(paths: Paths, unreadable: str) -> Iterator[Check]:
    for path in (paths.database, paths.console_database):
        wrong = snapshots.faults(path) if path.exists() else []
        if path == paths.database and unreadable and not wrong:
            wrong = [unreadable]
        if path.exists() or wrong:
            hint = f"stop the console, and restore a backup or a copy in {paths.backups}"
            yield finding(f"{path.name}", wrong, "whole", hint, fatal=True)


def _names(directory: Path) -> list[str]:
    """What is in a directory of the store; [] when that is lost, which another check says."""
    return os.listdir(directory) if directory.is_dir() else []


def records(paths: Paths) -> Check:
    """Whether each row can be read and has its files."""

    def look() -> list[str]:
        wrong = []
        version = rows(paths, "PRAGMA user_version")
        if version and int(version[0][0]) > len(MIGRATIONS):
            wrong.append(f"state.db has schema {version[0][0]}, and this Wharfie knows {len(MIGRATIONS)} at most")
        for container_id, name, spec, argv in rows(paths, CONTAINERS):
            try:
                documents.load(ContainerSpec, spec)
                documents.build(tuple[str, ...], documents.parse(argv))
            except ValueError:
                wrong.append(f"what container {name} was created with cannot be read")
            if not paths.container(container_id).is_dir():
                wrong.append(f"container {name} has lost its directory")
        for diff_id, _size in rows(paths, LAYERS):
            if not paths.layer(diff_id).is_dir():
                wrong.append(f"layer {diff_id[:19]} is not on disk")
        for (name,) in rows(paths, VOLUMES):
            if not paths.volume(name).is_dir():
                wrong.append(f"volume {name} has lost its directory")
        return wrong

    hint = "remove what is named and make it again; load images again"
    return finding("records", lasting(look), "each has its files", hint)


def orphans(paths: Paths) -> Check:
    """Directories without a row."""

    def look() -> list[str]:
        known = {f"layers/{row[0].removeprefix('sha256:')}" for row in rows(paths, LAYERS)}
        known |= {f"containers/{row[0]}" for row in rows(paths, CONTAINERS)}
        known |= {f"volumes/{row[0]}" for row in rows(paths, VOLUMES)}
        found = {f"layers/{name}" for name in _names(paths.layers) if OBJECT_ID.fullmatch(name)}
        found |= {f"containers/{name}" for name in _names(paths.containers) if OBJECT_ID.fullmatch(name)}
        found |= {f"volumes/{name}" for name in _names(paths.volumes) if not name.startswith(".")}
        return sorted(found - known)

    hint = f"the next start of the console removes layers; look into the others below {paths.root}, then delete them"
    return finding("orphaned files", lasting(look), "none", hint)


def layers(paths: Paths) -> Check:
    """Every file of every layer is read: a disk that fails shows as an error. And each weighs what it did."""
    wrong, total, count = [], 0, 0
    for diff_id, size_bytes in rows(paths, LAYERS):
        try:
            seen = _read(paths.layer(diff_id))
        except OSError as error:
            if paths.layer(diff_id).is_dir():  # else `records` says it, or it was removed meanwhile
                wrong.append(f"layer {diff_id[:19]}: {error.strerror}: {error.filename}")
            continue
        if seen != int(size_bytes):
            wrong.append(f"layer {diff_id[:19]} holds {seen} bytes, and {size_bytes} were unpacked")
        total, count = total + seen, count + 1
    good = f"{count} of them, {total >> 20} MiB, can be read and weigh what they did"
    return finding("layers", wrong, good, "remove the images with it; load them again")


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
