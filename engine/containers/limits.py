"""Change a container's limits, while it runs too."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys

from engine.cgroups import bounds, manager
from engine.cgroups.counters import GONE
from engine.containers.pausing import ended
from engine.containers.records import BRIEFLY_S, Records
from engine.containers.spec import Container, IoLimit, Limits, State
from engine.errors import Busy, EngineError, KernelError, Unsupported, WrongState
from engine.linux import files
from engine.storage.paths import Paths

RATES = ("read_bytes_per_s", "write_bytes_per_s", "reads_per_s", "writes_per_s")


def merge_io(before: tuple[IoLimit, ...], wanted: tuple[IoLimit, ...]) -> tuple[IoLimit, ...]:
    """Limits a disk, each disk once and by its number; of what is given twice the last counts."""
    disks = {each.device: each for each in before}
    for each in wanted:
        number = bounds.device_number(each.device)
        given = {rate: getattr(each, rate) for rate in RATES if getattr(each, rate) is not None}
        disks[number] = dataclasses.replace(disks.get(number, IoLimit(number)), **given)
    return tuple(disks.values())


def merge(before: Limits, wanted: Limits) -> Limits:
    """The limits with what is wanted in place; None and empty leave what is, a rate of 0 lifts it.

    One without swap stays so when its memory changes. "" for a cpuset lifts it.
    """
    given = {field.name: getattr(wanted, field.name) for field in dataclasses.fields(Limits)}
    given = {name: value for name, value in given.items() if value is not None and value != ()}
    if before.memory_swap_bytes == before.memory_bytes and "memory_bytes" in given:
        given.setdefault("memory_swap_bytes", given["memory_bytes"])
    pages = {each.page_bytes: each for each in (*before.huge_pages, *wanted.huge_pages)}
    given |= {"io": merge_io(before.io, wanted.io), "huge_pages": tuple(pages.values())}
    return dataclasses.replace(before, **given)


class Limiting:
    """The limits that a container has at this moment; what it is to have: `engine.containers.updating`."""

    def __init__(self, instance_id: str, paths: Paths, records: Records) -> None:
        self._instance = instance_id
        self._paths = paths
        self._records = records

    def settle(self) -> None:
        """Give those that run what is stored, where an update was cut short; called once when the console starts."""
        for found in self._records.all():
            if not found.state.alive:
                continue
            try:
                with self._records.locked(found, BRIEFLY_S) as (container, _):
                    self.enforce(container, container.spec.limits)
                    self.remember(container, container.spec.limits)
            except EngineError as error:  # the others get theirs all the same
                print(f"wharfie: limits of {found.name}: {error}", file=sys.stderr, flush=True)

    def remember(self, container: Container, limits: Limits) -> None:
        """What its shim starts it again by has them too."""
        path = self._paths.request(container.id)
        try:
            request = json.loads(path.read_bytes())
        except FileNotFoundError:  # it does not run
            return
        files.replace(str(path), json.dumps(request | {"limits": dataclasses.asdict(limits)}).encode())

    def enforce(self, container: Container, limits: Limits) -> None:
        """Have the kernel keep a running one to them: to all, or as before when it raises."""
        if container.state not in (State.RUNNING, State.PAUSED):
            return
        try:
            manager.group(self._instance, container.id).change(dataclasses.asdict(limits))
        except Unsupported:
            raise
        except OSError as error:
            raise _explained(container, error) from error


def _explained(container: Container, error: OSError) -> Busy | WrongState | KernelError:
    if error.errno in GONE:
        return ended(container, "update")
    file = os.path.basename(str(error.filename))
    if error.errno != errno.EBUSY:
        return KernelError.from_os(error, "changing its limits")
    if file.startswith("pids."):
        return Busy(
            f"container {container.name!r} has more processes than that",
            hint="end some of them, or give a higher limit", field="pids", subject=container.name,
        )  # fmt: skip
    swap = "swap" in file or "memsw" in file
    kind = "memory and swap" if swap else "memory"
    return Busy(
        f"container {container.name!r} uses more {kind} than that",
        hint="let it free some, or give a higher limit",
        field="memory_swap" if swap else "memory",
        subject=container.name,
    )
