"""Delete a store, so that nothing of it is left on the host."""

from __future__ import annotations

import errno
import time
from pathlib import Path

from engine.cgroups import manager
from engine.config import Config
from engine.storage import atomic, instance
from engine.storage.paths import Paths

PATIENCE_S = 10.0  # for shims whose containers have just ended


def purge(config: Config) -> None:
    """Delete the store with all that is in it. Busy when a console or a container uses it; without one, nothing.

    Cut short by a crash, it is done by doing it again: the id, by which the rest is found, goes last.
    """
    paths = Paths(Config(config.root.resolve(), config.run.resolve()))  # a link would be deleted instead
    if not paths.instance.exists():
        return
    paths.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with instance.alone(paths):
        name = paths.instance.read_text()
        _remove_groups(name)
        # From here on it is refused as damaged: nobody fills again what is being emptied.
        for path in (*paths.root.glob(f"{paths.database.name}*"), paths.version):
            path.unlink(missing_ok=True)
        for entry in paths.root.iterdir():
            if entry != paths.instance:
                _delete(entry)
        _delete(paths.run)
        instance.release(name)  # no file is left that has its ids
        paths.instance.unlink()
        _delete(paths.root)
    for link in filter(Path.is_symlink, (config.root, config.run)):
        link.unlink()


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


def _delete(path: Path) -> None:
    """A file, a directory, or all that is on the file system that is mounted there."""
    if path.is_mount():
        for entry in path.iterdir():
            _delete(entry)
    else:
        atomic.delete(path)
