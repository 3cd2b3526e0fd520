"""What many open pages cost and get: each of them has a websocket, as in a browser."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from itertools import pairwise
from pathlib import Path

from benchmarks import dock, fleet
from benchmarks.rows import Row, of_times
from benchmarks.visitor import Socket, Visitor
from engine import ContainerSpec, ExecSpec

VIEWERS = 20
WATCHED_S = 30.0
TERMINALS = 50
KEYS = 40
KEY_PAUSE_S = 0.2  # between the keys of one who types fast


def viewers() -> list[Row]:
    """Twenty lists open, of two hundred that run: the processor time of web, and how old figures are on arrival."""
    with dock.engine() as engine:
        fleet.grow(engine)
        with dock.console(engine) as (serve, link):
            visitor = Visitor(link)
            web = next(pid for pid in dock.descendants(serve)[1:] if "web" in _words(pid))
            ids = re.findall(r'<tr data-id="(\w+)"', visitor.get("/containers/?state=running"))
            shares, ages, ticks = asyncio.run(_watch(visitor, web, ids))
    return [
        Row("web-cpu-no-viewer", "% of a core", shares[0]),
        Row(f"web-cpu-{VIEWERS}-viewers", "% of a core", shares[1], target="< 5"),
        of_times("stats-tick", ticks, target="1000"),
        of_times("stats-age", ages, target="p95 < 1000"),
    ]


def _words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


async def _watch(visitor: Visitor, web: int, ids: list[str]) -> tuple[list[float], list[float], list[float]]:
    """Of a core, without and with viewers; the age of each frame as it comes; the time between two."""
    shares, ages, ticks = [await _share(web)], [], []

    async def view(socket: Socket) -> None:
        for wish in ({"sub": "stats", "ids": ids, "host": True}, {"sub": "jobs"}, {"sub": "containers"}):
            socket.say(wish)
        measured: list[float] = []
        try:
            while True:
                message = json.loads(await socket.hear())
                now_s = time.time()
                socket.say({"ack": message["seq"]})
                found = [frame["at"] / 1000 for frame in message["frames"] if frame["topic"] == "stats"]
                if found and measured:  # the first is what was there already
                    ages.append(now_s - found[0])
                measured += found
        finally:
            ticks.extend(after - before for before, after in pairwise(measured))

    sockets = [await visitor.open("/live/") for _ in range(VIEWERS)]
    watching = [asyncio.create_task(view(socket)) for socket in sockets]
    await asyncio.sleep(2)  # what the first frames cost is not what watching costs
    shares.append(await _share(web))
    for task in watching:
        if task.done():
            raise AssertionError("a viewer was cut off") from task.exception()
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    for socket in sockets:
        await socket.close()
    return shares, ages, ticks


async def _share(pid: int) -> float:
    before, began = dock.cpu_s([pid]), time.perf_counter()
    await asyncio.sleep(WATCHED_S)
    return (dock.cpu_s([pid]) - before) / (time.perf_counter() - began) * 100


def terminals() -> list[Row]:
    """Fifty terminals open, each with a websocket and somebody who types: from a key to its letter at the websocket."""
    with dock.engine() as engine:
        container = engine.start(engine.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)
        sessions = []
        for _ in range(TERMINALS):
            terminal = engine.terminal(container.id, ExecSpec(("cat",)))
            sessions.append(terminal.info.session)
            terminal.close()
        with dock.console(engine) as (_serve, link):
            paths = [f"/terminals/{container.id}/{session}/" for session in sessions]
            times = asyncio.run(_type(Visitor(link), paths))
    return [of_times(f"echo-{TERMINALS}-websockets", times, target="p95 < 50")]


async def _type(visitor: Visitor, paths: list[str]) -> list[float]:
    async def typing(socket: Socket) -> list[float]:
        times = []
        for _ in range(KEYS):
            await asyncio.sleep(KEY_PAUSE_S * random.uniform(0.5, 1.5))  # not all of them in step
            began = time.perf_counter()
            socket.type(b"x")
            while b"x" not in (shown := await socket.hear()):
                socket.say({"drawn": len(shown)})
            times.append(time.perf_counter() - began)
            socket.say({"drawn": len(shown)})
        return times

    sockets = [await visitor.open(path) for path in paths]
    for socket in sockets:
        socket.say({"rows": 24, "columns": 80})
    found = await asyncio.gather(*map(typing, sockets))
    for socket in sockets:
        await socket.close()
    return [each for times in found for each in times]
