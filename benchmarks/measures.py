"""The measurements, one function a row or a few."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks import acts, dock, lines, many, screen
from benchmarks.rows import Row, of_times
from engine import ContainerSpec, ExecSpec

RUNS = 60
SHIMS = 50
STARTS, AT_ONCE = 200, 8


def run_to_exit() -> list[Row]:
    """Create, start, wait and remove through the facade, with all isolation and limits, against ``<peer> run``."""
    ours: list[float] = []
    with dock.engine() as engine:
        found = {name: dock.Peer(name) for name in dock.peer_names()}
        theirs: dict[str, list[float]] = {name: [] for name in found}
        try:
            for number in range(RUNS + 5):
                began = time.perf_counter()
                container = engine.create(ContainerSpec(image="busybox", command=("true",)))
                engine.start(container.id)
                engine.wait(container.id)
                engine.remove(container.id)
                took = time.perf_counter() - began
                peer_took = {name: peer.turn()[0] for name, peer in found.items()}
                if number >= 5:  # the first warm caches, theirs and ours
                    ours.append(took)
                    for name, value in peer_took.items():
                        theirs[name].append(value)
        finally:
            for peer in found.values():
                peer.close()
    return [of_times("run-to-exit", ours, name, values) for name, values in theirs.items()] or [
        of_times("run-to-exit", ours)
    ]


def start() -> list[Row]:
    """From the call to a command that has been executed."""
    times: list[float] = []
    with dock.engine() as engine:
        for number in range(RUNS + 5):
            container = engine.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
            began = time.perf_counter()
            engine.start(container.id)
            if number >= 5:
                times.append(time.perf_counter() - began)
            engine.remove(container.id, force=True)
    return [of_times("start", times)]


def execute() -> list[Row]:
    """A further command in a running container, from the call to its exit code; with a terminal, to its last word."""
    plain: list[float] = []
    seated: list[float] = []
    with dock.engine() as engine:
        container = engine.start(engine.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)
        for number in range(RUNS + 5):
            began = time.perf_counter()
            with engine.exec(container.id, ExecSpec(("true",), stdin=False)) as execution:
                execution.wait()
            between = time.perf_counter()
            terminal = engine.terminal(container.id, ExecSpec(("true",)))
            while terminal.read():
                continue
            terminal.close()
            if number >= 5:
                plain.append(between - began)
                seated.append(time.perf_counter() - between)
    return [of_times("exec", plain), of_times("exec-tty", seated)]


def shim_memory() -> list[Row]:
    """What a running container costs besides itself."""
    with dock.engine() as engine:
        for _ in range(SHIMS):
            engine.start(engine.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)
        records = [json.loads(path.read_text()) for path in engine.paths.shims.glob("*.json")]
        sizes = [dock.pss_bytes(record["shim_pid"]) / 2**20 for record in records]
    return [
        Row("shim-memory", "MB PSS", sum(sizes) / len(sizes), n=len(sizes), p95=sorted(sizes)[int(len(sizes) * 0.95)])
    ]


def start_rate() -> list[Row]:
    """Containers started a second, eight at once."""
    with dock.engine() as engine:
        created = [engine.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id for _ in range(STARTS)]
        began = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(engine.start, created))
        rate = STARTS / (time.perf_counter() - began)
    return [Row("start-rate", "1/s", rate, n=STARTS)]


def idle_memory() -> list[Row]:
    """All processes of a console that has answered a page and runs nothing."""
    with dock.engine() as engine, dock.console(engine) as (serve, link):
        # A child of its own asks, so that the client's libraries do not count.
        subprocess.run(
            [sys.executable, "-c", "import sys, urllib.request as u; u.urlopen(sys.argv[1]).read()", link], check=True
        )
        total = sum(dock.pss_bytes(pid) for pid in dock.descendants(serve)) / 2**20
    return [Row("idle-memory", "MB PSS", total)]


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "run-to-exit": run_to_exit,
    "start": start,
    "exec": execute,
    "shim-memory": shim_memory,
    "idle-memory": idle_memory,
    "start-rate": start_rate,
    "acts": acts.acts,
    "log-ingest": lines.ingest,
    "log-read": lines.read,
    "log-lines": lines.parse,
    "log-tail": lines.tail,
    "echo": screen.echo,
    "thousand": many.thousand,
}
