"""The measurements, one function a row or a few."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from benchmarks import acts, dock, docker, lines, many, pages, recording, screen, viewers
from benchmarks.rows import Row, of_times, settle, timed
from console.supervisor import answering
from engine import ContainerSpec, ExecSpec

RUNS = 60
SHIMS = 50
STARTS, AT_ONCE = 200, 8
DOCKER_STARTS = 50  # it takes long


def run_to_exit() -> list[Row]:
    """Create, start, wait and remove through the facade, with all isolation and limits, against ``<peer> run`` and the
    same four calls to Docker."""
    ours: list[float] = []
    with dock.engine() as engine, docker.daemon() as daemon:

        def by_us() -> None:
            container = engine.create(ContainerSpec(image="busybox", command=("true",)))
            engine.start(container.id)
            engine.wait(container.id)
            engine.remove(container.id)

        def by_docker() -> None:
            assert daemon is not None
            container = daemon.create("true")
            daemon.start(container)
            daemon.wait(container)
            daemon.remove(container)

        found = {name: dock.Peer(name) for name in dock.peer_names()}
        theirs: dict[str, list[float]] = {name: [] for name in found} | ({"docker": []} if daemon else {})
        try:
            for number in range(RUNS + 5):
                settle()
                took = timed(by_us)
                peer_took = {name: peer.turn()[0] for name, peer in found.items()}
                if daemon:
                    settle()
                    peer_took["docker"] = timed(by_docker)
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
    ours: list[float] = []
    theirs: list[float] = []
    with dock.engine() as engine, docker.daemon() as daemon:
        for _ in range(RUNS + 5):
            container = engine.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
            settle()
            ours.append(timed(lambda: engine.start(container.id)))  # noqa: B023 - called at once
            engine.remove(container.id, force=True)
            if daemon:
                theirs_id = daemon.create("sleep", "1000")
                settle()
                theirs.append(timed(lambda: daemon.start(theirs_id)))  # noqa: B023 - called at once
                daemon.remove(theirs_id)
    return [of_times("start", ours[5:], "docker" if theirs else "-", theirs[5:])]


def execute() -> list[Row]:
    """A further command in a running container, from the call to its exit code; with a terminal, to its last word."""
    ours: dict[str, list[float]] = {"exec": [], "exec-tty": []}
    theirs: dict[str, list[float]] = {"exec": [], "exec-tty": []}
    with dock.engine() as engine, docker.daemon() as daemon:
        container = engine.start(engine.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)
        other = daemon.create("sleep", "1000") if daemon else ""
        if daemon:
            daemon.start(other)

        def plain() -> None:
            with engine.exec(container.id, ExecSpec(("true",), stdin=False)) as execution:
                execution.wait()

        def seated() -> None:
            terminal = engine.terminal(container.id, ExecSpec(("true",)))
            while terminal.read():
                continue
            terminal.close()

        for _ in range(RUNS + 5):
            settle()
            ours["exec"].append(timed(plain))
            ours["exec-tty"].append(timed(seated))
            if daemon:
                settle()
                theirs["exec"].append(timed(lambda: daemon.execute(other, "true")))
                theirs["exec-tty"].append(timed(lambda: daemon.execute(other, "true", tty=True)))
    return [of_times(name, ours[name][5:], "docker" if theirs[name] else "-", theirs[name][5:]) for name in ours]


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
    """Containers started a second, eight at once; Docker is asked by eight clients."""
    with dock.engine() as engine:
        created = [engine.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id for _ in range(STARTS)]
        ours = _rate(engine.start, created)
    row = Row("start-rate", "1/s", ours, n=STARTS)
    with docker.daemon() as daemon:
        if not daemon:
            return [row]
        created = [daemon.create("sleep", "1000") for _ in range(DOCKER_STARTS)]
        clients = threading.local()

        def by_docker(container: str) -> None:
            if not hasattr(clients, "own"):
                clients.own = docker.Docker(daemon.path)
            clients.own.start(container)

        return [replace(row, peer_name="docker", peer=_rate(by_docker, created))]


def _rate(start: Callable[[str], object], created: list[str]) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(start, created))
    return len(created) / (time.perf_counter() - began)


def idle_memory() -> list[Row]:
    """All processes of a console that has answered a page and runs nothing."""
    with dock.engine() as engine, dock.console(engine) as (serve, link):
        # A child of its own asks, so that the client's libraries do not count.
        subprocess.run(
            [sys.executable, "-c", "import sys, urllib.request as u; u.urlopen(sys.argv[1]).read()", link], check=True
        )
        launcher = answering(str(engine.paths.launcher_socket))  # serve has found it at work
        pids = {*dock.descendants(serve), *dock.descendants(launcher)}
        total = sum(map(dock.pss_bytes, pids)) / 2**20
    return [Row("idle-memory", "MB PSS", total, target="<= 126")]


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
    "log-page": lines.page,
    "echo": screen.echo,
    "terminals": viewers.terminals,
    "list-page": pages.list_page,
    "first-screen": screen.first_screen,
    "viewers": viewers.viewers,
    "log-tab": pages.log_page,
    "log-screen": screen.log_screen,
    "log-follow": screen.log_follow,
    "recorder": recording.recorder,
    "thousand": many.thousand,
}
