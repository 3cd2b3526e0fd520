"""Read what containers use from their control groups."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Iterable
from typing import Protocol

from engine.cgroups import manager
from engine.cgroups.counters import Counters, UnlessGone, Usage
from engine.cgroups.meter import Meter
from engine.containers.spec import Container, Limits
from engine.errors import EngineError, WrongState
from engine.events import Events
from engine.metrics.spec import Sample

FILES_EACH = 5  # of a container; all of them are at most half of what a process may have open


class Running(Protocol):
    """A container as far as it matters here."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def limits(self) -> Limits: ...


def counters(instance: str, container: Container) -> Counters:
    """All that the kernel counts of one container; WrongState when it does not run."""
    if container.pid is not None:
        with UnlessGone():
            return manager.group(instance, container.id).counters()
    raise WrongState(
        f"container {container.name!r} does not run, so nothing is counted", hint="start it", subject=container.name
    )


class Sampler:
    """Takes samples, and keeps open what it reads them from. Thread-safe; close it."""

    MOST_KEPT = 500  # containers, of FILES_EACH; of more, the others' are opened each time

    def __init__(self, instance: str, events: Events) -> None:
        self._instance = instance
        self._events = events
        self._meters: dict[str, Meter] = {}
        self._oom_kills: dict[str, int] = {}  # at the last look, of those that ran then
        self._looked = False  # what was before that is no news
        self._lock = threading.Lock()

    def sample(self, containers: Iterable[Running]) -> dict[str, Sample]:
        """A sample of each of these that runs, by id; one that ended meanwhile is left out.

        An event tells of processes that the kernel has killed since the last look because memory ran out: the container
        may well go on without them.
        """
        found, kills, struck = {}, {}, []
        with self._lock:
            first = not self._looked
            self._looked = True
            for container in containers:
                meter = self._meters.get(container.id)
                used = self._used(container.id)
                if used is None:
                    continue
                known = self._oom_kills.get(container.id, 0)
                same = self._meters.get(container.id) is meter and known <= used.oom_kills  # and no run begun since
                before = used.oom_kills if first else known if same else 0
                found[container.id] = Sample(
                    time_ns=time.monotonic_ns(),
                    cpu_time_ns=used.cpu_time_ns,
                    memory_bytes=used.memory_bytes,
                    memory_limit_bytes=container.limits.memory_bytes or 0,
                    pids=used.pids,
                    cpus=container.limits.cpus or 0.0,
                )
                kills[container.id] = used.oom_kills
                if used.oom_kills > before:
                    struck.append((container, used.oom_kills - before))
            self._oom_kills = kills
            for gone in self._meters.keys() - found.keys():
                self._meters.pop(gone).close()
        for container, killed in struck:
            try:
                self._events.publish("container", "oom", container.id, container.name, killed=killed)
            except EngineError as error:  # figures are told all the same, and this at the next look
                print(f"wharfie: an event of {container.name}: {error}", file=sys.stderr, flush=True)
                with self._lock:
                    self._oom_kills[container.id] = max(0, self._oom_kills.get(container.id, 0) - killed)
        return found

    def _used(self, container_id: str) -> Usage | None:
        """What it uses; None when it has no group."""
        meter = self._meters.get(container_id)
        if meter is not None:
            with UnlessGone():
                return meter.read()
            self._meters.pop(container_id).close()  # of its run before: it may have another group now
        with UnlessGone():
            group = manager.group(self._instance, container_id)
            allowed, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            if len(self._meters) >= min(self.MOST_KEPT, allowed // (2 * FILES_EACH)):
                return manager.usage(group)
            meter = self._meters[container_id] = group.meter()
            return meter.read()
        return None

    def close(self) -> None:
        """Give the files back."""
        with self._lock:
            while self._meters:
                self._meters.popitem()[1].close()


def several(instance: str, ids: Iterable[str]) -> dict[str, Counters]:
    """All that the kernel counts of several; those that ended are left out."""
    found = {}
    for container_id in ids:
        with UnlessGone():
            found[container_id] = manager.group(instance, container_id).counters()
    return found
