"""What is wrong with an instance, and what to do about it. `engine.linux.probe` asks what the host can do at all.

Looks and changes nothing; works while containers run, and when no `Engine` can be opened.
"""

from __future__ import annotations

from engine.config import Config
from engine.doctor import host, runtime, store
from engine.doctor.findings import finding
from engine.doctor.rows import unreadable
from engine.linux.probe import Check
from engine.storage.paths import Paths


def examine(config: Config, *, deep: bool = False) -> list[Check]:
    """Every check, in an order to be read in; with ``deep`` every file of every layer is read
    too, which takes a while, and their sizes are compared."""
    paths = Paths(config)
    checks = [host.limits(), host.clock(paths)]
    if not paths.instance.exists():
        return [*checks, finding("store", [], f"there is none at {paths.root} yet", "")]
    why = unreadable(paths)
    checks += [store.restore(paths), store.directories(paths), host.disk(paths), *store.databases(paths, why)]
    if not why:  # else all that is there would be called left over
        checks += [store.records(paths), store.orphans(paths), *([store.layers(paths)] if deep else [])]
        checks += [runtime.shims(paths)]
    checks += [runtime.launcher(paths), runtime.web(paths), runtime.groups(paths), runtime.sockets(paths)]
    return checks
