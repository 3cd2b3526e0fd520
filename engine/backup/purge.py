"""Delete a store, so that nothing of it is left on the host."""

from __future__ import annotations

import errno
import shutil
import time
from pathlib import Path

from engine.cgroups import manager
from engine.config import Config
from engine.storage import instance
from engine.storage.paths import Paths

PATIENCE_S = 10.0  # for shims whose containers have just ended


def purge(config: Config) -> None:
    """Delete the store with all that is in it. Busy when a console or a container uses it; without one, nothing."""
    paths = Paths(config)
    if not paths.instance.exists():
        return
    with instance.alone(paths):
        _remove_groups(paths.instance.read_text())
        instance.release(config)
        # Its id goes first: whatever a crash leaves is a store no more, and another one can be made there.
        paths.instance.unlink()
        for directory in (paths.root, paths.run):
            _delete(directory)


def _remove_groups(name: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            manager.group(name, manager.ENGINE_GROUP).remove()
            manager.remove_instance(name)
            return
        except OSError as error:  # the last shims are just leaving
            if error.errno != errno.EBUSY or time.monotonic() > until_s:
                raise
            time.sleep(0.05)


def _delete(directory: Path) -> None:
    """A directory, or all that is on the file system that is mounted there."""
    if not directory.is_mount():
        shutil.rmtree(directory)
        return
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
