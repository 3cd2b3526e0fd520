"""Read what containers use from their control groups."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable
from typing import Protocol

from engine.cgroups import manager
from engine.cgroups.counters import Counters
from engine.containers.spec import Container, Limits
from engine.errors import WrongState
from engine.metrics.spec import Sample


class Running(Protocol):
    """A container as far as it matters here."""

    @property
    def id(self) -> str: ...
    @property
    def limits(self) -> Limits: ...


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


def sample(instance: str, containers: Iterable[Running]) -> dict[str, Sample]:
    """A sample of each of these that runs, by id; one that ended meanwhile is left out."""
    found = {}
    for container in containers:
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
            memory_limit_bytes=container.limits.memory_bytes or 0,
            pids=used.pids,
            cpus=container.limits.cpus or 0.0,
        )
    return found


def several(instance: str, ids: Iterable[str]) -> dict[str, Counters]:
    """All that the kernel counts of several; those that ended are left out."""
    found = {}
    for container_id in ids:
        try:
            found[container_id] = manager.group(instance, container_id).counters()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
    return found
