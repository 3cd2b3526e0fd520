"""Read what containers use from their control groups."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable

from engine.cgroups import manager
from engine.cgroups.counters import Counters
from engine.containers.spec import Container
from engine.errors import WrongState
from engine.metrics.spec import Sample


def counters(instance: str, container: Container) -> Counters:
    """All that the kernel counts of one container; WrongState when it does not run."""
    try:
        if container.pid is not None:
            return manager.group(instance, container.id).counters()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
    raise WrongState(
        f"container {container.name!r} does not run, so nothing is counted", hint="start it", subject=container.name
    )


def sample(instance: str, containers: Iterable[Container]) -> dict[str, Sample]:
    """A sample of each running container, by id; one that ended meanwhile is left out."""
    found = {}
    for container in containers:
        if container.pid is None:
            continue
        try:
            used = manager.group(instance, container.id).usage()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # either says that the group has just gone
                raise
            continue
        found[container.id] = Sample(
            time_ns=time.monotonic_ns(),
            cpu_time_ns=used.cpu_time_ns,
            memory_bytes=used.memory_bytes,
            memory_limit_bytes=container.spec.limits.memory_bytes or 0,
            pids=used.pids,
            cpus=container.spec.limits.cpus or 0.0,
        )
    return found
