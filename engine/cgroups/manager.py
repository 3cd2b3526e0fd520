"""What every cgroup manager does, and which one this host needs.

Layout, the same in every hierarchy: ``wharfie-<instance>/`` at the top holds ``engine`` (launcher and shims)
and one group per container, named by its id. At the top, never inside the group that Wharfie was started in:
a logout or a stopped unit must not take containers along.

Only files are used here, so that the shim, which forks from a small launcher, can do it too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Protocol

from engine.cgroups.counters import GONE, Counters, Oom, Usage
from engine.cgroups.meter import Meter
from engine.cgroups.settings import Limits
from engine.cgroups.settings import write_text as write_text  # for the shim, too

ENGINE_GROUP = "engine"


class Group(Protocol):
    """The groups of one name, in all hierarchies."""

    def create(self, *, confined: bool = True, devices: Sequence[str] = ()) -> None:
        """Make the group. ``confined``: it must be new, and its processes may open a container's devices only, and
        ``devices``, as lines of ``devices.allow``.
        OSError leaves nothing behind."""

    def limit(self, limits: Limits) -> None:
        """Set the limits of a new group. Unsupported, with the field, for one that this host does not have."""

    def change(self, limits: Limits) -> None:
        """Set the limits of a group in use: all, or none when it raises. What is None goes to the kernel's default.

        OSError EBUSY, with the file, when more than that is in use and cannot be reclaimed; else as `limit`.
        """

    def add(self, pid: int) -> None:
        """Move a process in. Slow, for it waits for an RCU grace period (2 to 15 ms): a container's way in is below."""

    def birthplace(self) -> int | None:
        """A descriptor for CLONE_INTO_CGROUP, which the caller closes; None where `doors` are the way in."""

    def doors(self) -> list[int]:
        """Descriptors that the caller closes: who writes ``0`` to each has moved itself in, if it has one thread."""

    def meter(self) -> Meter:
        """The few figures of a list, read again and again; the caller closes it. FileNotFoundError when it is gone."""

    def counters(self) -> Counters:
        """Everything that the kernel counts; FileNotFoundError when it is gone."""

    def oom(self) -> Oom:
        """What the out-of-memory killer did; FileNotFoundError when it is gone."""

    def freeze(self, timeout_s: float) -> None:
        """Stop all its processes; on return none runs. TimeoutError, and none is frozen, when one is stuck."""

    def thaw(self) -> None:
        """Let them go on; fine when they do."""

    def frozen(self) -> bool:
        """Whether they are to stand still, which a freezing that was cut short leaves too; False when it is gone."""

    def pids(self) -> list[int]:
        """The processes in it."""

    def kill(self) -> None:
        """SIGKILL to all in it, frozen ones and those that fork meanwhile included; fine when it is gone."""

    def remove(self) -> None:
        """Remove the empty group; absent is fine, OSError EBUSY when processes are left."""


def usage(group: Group) -> Usage:
    """The few figures of a list, once; FileNotFoundError when it is gone."""
    with closing(group.meter()) as meter:
        return meter.read()


def clear(group: Group) -> None:
    """Remove a group with all that is left in it; OSError when that has not worked for a second.

    A process that was killed may take a moment to leave, and one that was being started may just be entering.
    """
    for attempt in range(100):
        try:
            group.remove()
            return
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == 99:
                raise
        group.kill()
        select.select((), (), (), 0.01)


def unified_mount() -> str | None:
    """Where cgroup v2 alone rules: its mount point, or None on a v1 or hybrid host."""
    return "/sys/fs/cgroup" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else None


def births() -> bool:
    """Whether a container's first process must be born in its group, since there is no cheap way into it later."""
    return unified_mount() is not None


def group(instance: str, name: str) -> Group:
    """The manager of a container's (or the engine's own) group on this host."""
    from engine.cgroups import v1, v2  # they import this module; the launcher has loaded them before any fork

    return v2.Group(instance, name) if unified_mount() else v1.Group(instance, name)


def join_engine(instance: str, lock: str) -> None:
    """Move the calling process into the engine's group, which is made when absent."""
    own = group(instance, ENGINE_GROUP)
    with _locked(lock):
        own.create(confined=False)
        own.add(os.getpid())


def leave_engine(instance: str, lock: str) -> None:
    """Move the calling process, about to end, to the top of each hierarchy. The last removes the groups.

    Groups of containers that still run stay, and so do those above them.
    """
    with _locked(lock):
        _leave(os.getpid())
        _remove_engine(instance)


def clear_engine(instance: str, lock: str) -> None:
    """Remove the groups of a launcher and shims that were all killed, and so could not; fine when somebody is there."""
    with _locked(lock):
        _remove_engine(instance)


def _remove_engine(instance: str) -> None:
    try:
        group(instance, ENGINE_GROUP).remove()
        remove_instance(instance)
    except OSError as error:
        if error.errno != errno.EBUSY:  # the launcher or a shim is in it
            raise


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Held by who joins or leaves: nobody may remove a group that another has made and not entered yet."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:  # its directory was deleted: nobody finds this instance there any more
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _leave(pid: int) -> None:
    """Move a process out of Wharfie's groups, to the top of each hierarchy."""
    from engine.cgroups import v1

    if mount := unified_mount():
        write_text(f"{mount}/cgroup.procs", pid)
        return
    for hierarchy in v1.hierarchies():
        write_text(f"{v1.MOUNT}/{hierarchy}/cgroup.procs", pid)


def remove_instance(instance: str) -> None:
    """Remove the instance's own directories; those that still hold a container's group stay."""
    from engine.cgroups import v1

    mounts = [f"{v1.MOUNT}/{hierarchy}" for hierarchy in v1.hierarchies()]
    for mount in [unified_mount()] if unified_mount() else mounts:
        try:
            os.rmdir(f"{mount}/wharfie-{instance}")
        except OSError as error:
            if error.errno not in (*GONE, errno.EBUSY, errno.ENOTEMPTY):
                raise
