"""Read what containers use from their control groups."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable

from engine.cgroups import manager
from engine.containers.spec import Container, State
from engine.metrics.spec import Sample


def sample(instance: str, containers: Iterable[Container]) -> dict[str, Sample]:
    """A sample of each running container, by id; one that ended meanwhile is left out."""
    found = {}
    for container in containers:
        if container.state is not State.RUNNING:
            continue
        try:
            counters = manager.group(instance, container.id).counters()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # either says that the group has just gone
                raise
            continue
        found[container.id] = Sample(
            time_ns=time.monotonic_ns(),
            cpu_time_ns=counters.cpu_time_ns,
            memory_bytes=counters.memory_bytes,
            memory_limit_bytes=container.spec.limits.memory_bytes or 0,
            pids=counters.pids,
            cpus=container.spec.limits.cpus or 0.0,
        )
    return found
