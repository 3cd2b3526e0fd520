"""What it costs to write down, once a second, what all containers use: the console's recorder."""

from __future__ import annotations

import time

from benchmarks import dock
from benchmarks.rows import Row
from engine import ContainerSpec

CONTAINERS = 100
SECONDS = 30


def recorder() -> list[Row]:
    """Of the processor time of one core, with a hundred containers that run."""
    from console.recorder import PERIOD_S, Recorder

    with dock.engine() as engine:
        for _ in range(CONTAINERS):
            engine.start(engine.create(ContainerSpec(image="busybox", command=("sleep", "100000"))).id)
        made = Recorder(engine)
        made.take()
        spent = []
        for _ in range(SECONDS):
            time.sleep(PERIOD_S)
            began = time.thread_time()
            if len(made.take()) != CONTAINERS:
                raise AssertionError("not all of them run")
            spent.append(time.thread_time() - began)
    shares = sorted(each / PERIOD_S * 100 for each in spent)
    return [
        Row("recorder", "% of a core", sum(shares) / len(shares), n=len(shares), p95=shares[int(len(shares) * 0.95)])
    ]
