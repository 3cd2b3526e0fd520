"""What a thousand running containers cost."""

from __future__ import annotations

import json
import statistics
import time

from benchmarks import dock
from benchmarks.rows import Row, of_times
from console.supervisor import answering
from engine import ContainerSpec, Engine

FEW = 10
LOOKS = 100


def thousand(count: int = 1000, hold_s: float = 600) -> list[Row]:
    """Start ``count`` one by one, look at the list, leave them alone for ``hold_s``, and start a few more."""
    with dock.engine() as engine:
        starts = [_start(engine) for _ in range(count)]
        lists = []
        for _ in range(LOOKS):
            began = time.perf_counter()
            found = engine.listing(count=100)
            lists.append(time.perf_counter() - began)
            if found.matching != count:
                raise AssertionError(f"{found.matching} containers of {count}")
        records = [json.loads(path.read_text()) for path in engine.paths.shims.glob("*.json")]
        sizes = [dock.pss_bytes(record["shim_pid"]) / 2**20 for record in records]
        pids = dock.descendants(answering(str(engine.paths.launcher_socket)))  # shims, keeper, spare and containers
        before, began = dock.cpu_s(pids), time.perf_counter()
        time.sleep(hold_s)
        idle = (dock.cpu_s(pids) - before) / (time.perf_counter() - began) * 100
        alive = sum(1 for container in engine.containers() if container.state.alive)
        if alive != count:
            raise AssertionError(f"{alive} of {count} containers run after {hold_s:g} s")
        late = [_start(engine) for _ in range(FEW)]
    name = f"of-{count}"
    return [
        of_times(f"{name}-start", starts),
        Row(f"{name}-list-first", "ms", lists[0] * 1000),  # after as many starts of which it has not heard yet
        of_times(f"{name}-list", lists),
        Row(
            f"{name}-memory", "MB PSS", statistics.mean(sizes), n=len(sizes), p95=sorted(sizes)[int(len(sizes) * 0.95)]
        ),
        Row(f"{name}-idle-cpu", "% of a core", idle),
        of_times(f"{name}-start-late", late, f"the first {FEW}", starts[3 : 3 + FEW]),
    ]


def _start(engine: Engine) -> float:
    container = engine.create(ContainerSpec(image="busybox", command=("sleep", "100000")))
    began = time.perf_counter()
    engine.start(container.id)
    return time.perf_counter() - began
