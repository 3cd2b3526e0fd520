"""The measurements of logs: how fast a container may write, and how fast what it wrote is read."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from benchmarks import dock, docker
from benchmarks.rows import Row, of_times, timed
from engine import Container, ContainerSpec, Engine, LogPattern, Wanted

LINE = b"x" * 99 + b"\n"
LINES = 1_000_000
MANY_LINES = 10_000_000
TURNS = 5
TAIL = 100
SCREEN = 200


def ingest() -> list[Row]:
    """A container that writes 100 MB of lines, nothing of which is dropped, from its start to its end.

    The peers, in turn: ``cat > file``, which starts nothing, and Docker with its json-file that may grow as large.
    """
    ours: list[float] = []
    theirs: list[float] = []
    dockers: list[float] = []
    megabytes = LINES * len(LINE) / 1e6
    with dock.engine() as engine, docker.daemon() as daemon:
        container = _writer(engine, LINES)
        source = engine.paths.container(container.id) / "upper/lines"
        for turn in range(TURNS + 1):
            began = time.perf_counter()
            engine.start(container.id)
            engine.wait(container.id)
            between = time.perf_counter()
            with open(engine.config.root / "copy", "wb") as copy:
                subprocess.run(["cat", source], stdout=copy, check=True)
            if turn:
                ours.append(megabytes / (between - began))
                theirs.append(megabytes / (time.perf_counter() - between))
            if daemon:
                one = daemon.create("cat", "/lines", binds=(f"{source}:/lines:ro",), log={"max-size": "4g"})
                took = timed(lambda: (daemon.start(one), daemon.wait(one)))  # noqa: B023 - called at once
                daemon.remove(one)
                if turn:
                    dockers.append(megabytes / took)
    rows = [_rates("log-ingest", ours, "cat", theirs)]
    return [*rows, _rates("log-ingest", ours, "docker json-file", dockers)] if dockers else rows


def read() -> list[Row]:
    """All that was written, in bytes, as a download and `logs` without flags take it. The peer: a plain file."""
    ours: list[float] = []
    theirs: list[float] = []
    megabytes = LINES * len(LINE) / 1e6
    with dock.engine() as engine:
        container = written(engine, LINES)
        source = engine.paths.container(container.id) / "upper/lines"
        for _ in range(TURNS):
            began = time.perf_counter()
            count = sum(len(data) for _stream, _time_ns, data in engine.log_bytes(container.id))
            between = time.perf_counter()
            if count != LINES * len(LINE):
                raise AssertionError(f"{count} bytes of {LINES * len(LINE)}")
            with open(source, "rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass
            ours.append(megabytes / (between - began))
            theirs.append(megabytes / (time.perf_counter() - between))
    return [_rates("log-read", ours, "read()", theirs)]


def parse() -> list[Row]:
    """All lines through the public reader, one object each. The peer: Python reading lines of the same plain file."""
    ours: list[float] = []
    theirs: list[float] = []
    megabytes = LINES * len(LINE) / 1e6
    with dock.engine() as engine:
        container = written(engine, LINES)
        source = engine.paths.container(container.id) / "upper/lines"
        for _ in range(TURNS):
            began = time.perf_counter()
            count = sum(1 for _line in engine.logs(container.id))
            between = time.perf_counter()
            if count != LINES:
                raise AssertionError(f"{count} lines of {LINES}")
            with open(source, encoding="utf-8", errors="replace") as file:
                sum(1 for _line in file)
            ours.append(megabytes / (between - began))
            theirs.append(megabytes / (time.perf_counter() - between))
    return [_rates("log-lines", ours, "open()", theirs)]


def tail() -> list[Row]:
    """The last 100 of ten million lines. The peer: tail(1) of the same plain file, which is a process."""
    ours: list[float] = []
    theirs: list[float] = []
    with dock.engine() as engine:
        container = written(engine, MANY_LINES)
        source = engine.paths.container(container.id) / "upper/lines"
        for turn in range(20):
            began = time.perf_counter()
            found = list(engine.logs(container.id, tail=TAIL))
            between = time.perf_counter()
            if len(found) != TAIL:
                raise AssertionError(f"{len(found)} lines of {TAIL}")
            subprocess.run(["tail", "-n", str(TAIL), source], stdout=subprocess.DEVNULL, check=True)
            if turn:
                ours.append(between - began)
                theirs.append(time.perf_counter() - between)
    return [of_times("log-tail", ours, "tail", theirs)]


def page() -> list[Row]:
    """The last 200 of ten million lines, nothing of the log being known; the pages before; a search in all of it."""
    first: list[float] = []
    older: list[float] = []
    with dock.engine() as engine:
        container = written(engine, MANY_LINES)
        where = engine.log_pages(container.id).end()
        for _ in range(20):
            with Engine(engine.config) as fresh:
                began = time.perf_counter()
                found = fresh.log_pages(container.id).before(None, SCREEN)
                first.append(time.perf_counter() - began)
            if len(found.rows) != SCREEN:
                raise AssertionError(f"{len(found.rows)} lines of {SCREEN}")
        pages, place = engine.log_pages(container.id), where
        for _ in range(100):
            began = time.perf_counter()
            found = pages.before(place, SCREEN)
            older.append(time.perf_counter() - began)
            place = found.first
        began = time.perf_counter()
        wanted, place, rest = Wanted(pattern=LogPattern("no such line", regex=False)), where, True
        while rest:
            found = pages.before(place, SCREEN, wanted)
            place, rest = found.first, found.more
        megabytes = MANY_LINES * len(LINE) / 1e6
        search = Row("log-search", "MB/s", megabytes / (time.perf_counter() - began))
    return [of_times("log-page", first), of_times("log-page-older", older), search]


def _writer(engine: Engine, lines: int) -> Container:
    spec = ContainerSpec(image="busybox", command=("cat", "/lines"), log_segment_bytes=2**32, log_segments=2)
    container = engine.create(spec)
    _fill(engine.paths.container(container.id) / "upper/lines", lines)
    return container


def written(engine: Engine, lines: int) -> Container:
    container = _writer(engine, lines)
    engine.start(container.id)
    engine.wait(container.id)
    return container


def _fill(path: Path, lines: int) -> None:
    if shutil.disk_usage(path.parent).free < 4 * lines * len(LINE):
        raise OSError(f"the disk of {path.parent} has no room for the benchmark")
    with open(path, "wb") as file:
        for _ in range(lines // 1000):
            file.write(LINE * 1000)


def _rates(name: str, ours: list[float], peer_name: str, theirs: list[float]) -> Row:
    middle = len(ours) // 2
    return Row(name, "MB/s", sorted(ours)[middle], peer_name, sorted(theirs)[middle], len(ours))
