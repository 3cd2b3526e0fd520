"""What a busy host has: two hundred containers that run, among a thousand in the store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from engine import ContainerSpec, Engine

RUNNING, STORED = 200, 1000
AT_ONCE = 8


def grow(engine: Engine, running: int = RUNNING, stored: int = STORED) -> None:
    """Create and start until there are so many."""
    made = [engine.create(_SPEC).id for _ in range(stored - len(engine.containers()))]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(engine.start, made[: running - len(engine.running())]))


_SPEC = ContainerSpec(image="busybox", command=("sleep", "100000"))
