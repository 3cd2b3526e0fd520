"""A container's output, line by line, to its end or on and on."""

from __future__ import annotations

from collections.abc import Iterator

from engine.containers.logframes import chunks
from engine.containers.logs import LogLine, LogTail, LogWatch
from engine.containers.records import Records
from engine.containers.spec import Container
from engine.events import Events
from engine.linux import files
from engine.shim.stdio import STDOUT
from engine.storage.paths import Paths

_AT_ONCE = 20_000  # lines
UNANNOUNCED_S = 1.0  # between two looks: the end of a container whose shim was killed wakes nobody


def written(paths: Paths, container: Container) -> Iterator[tuple[str, int, bytes]]:
    """(stream, Unix time in ns, bytes) of all that it has written up to now and that is kept, undecoded."""
    directory = paths.log(container.id)
    try:
        names = sorted(path.name for path in directory.iterdir() if path.name.isdigit())
        last_bytes = (directory / names[-1]).stat().st_size if names else 0
    except FileNotFoundError:  # it is just being removed, or rotates at this moment
        return
    for stream, time_ns, data in chunks([str(directory / name) for name in names], last_bytes):
        yield "stdout" if stream == STDOUT else "stderr", time_ns, data


def lines(
    paths: Paths, records: Records, events: Events, ref: str, tail: int | None, follow: bool, since_ns: int | None
) -> Iterator[LogLine]:
    """Its last ``tail`` lines (None: all) since a Unix time in ns; with ``follow`` more until it ends. Blocks then.

    NotFound, at the first line, when there is no such container.
    """
    container = records.find(ref)
    reader = LogTail(paths, container.id, tail=tail, until_now=not follow)
    watch = LogWatch(paths) if follow else None
    subscription = events.subscribe() if follow else None
    try:
        if watch:
            watch.add(container.id)
        while True:
            found = reader.read(_AT_ONCE)
            yield from found if since_ns is None else (line for line in found if line.time_ns >= since_ns)
            if found or not reader.waits:
                continue  # a read is bounded: there may be more already, and no change would tell of it
            if watch is None or subscription is None or reader.finished:
                return
            files.readable((watch.fileno(), subscription.fileno()), UNANNOUNCED_S)
            watch.changed()
            subscription.drain()
    finally:
        reader.close()
        if watch:
            watch.close()
        if subscription:
            subscription.close()
