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
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

ENGINE_GROUP = "engine"


class Counters(NamedTuple):
    """What a group used so far. Units are in the names."""

    cpu_time_ns: int
    memory_bytes: int  # without the inactive page cache
    pids: int
    oom_kills: int


class Group(Protocol):
    """The groups of one name, in all hierarchies."""

    def create(self, *, confined: bool = True) -> None:
        """Make the group. ``confined``: it must be new, and its processes may open a container's devices only.
        OSError leaves nothing behind."""

    def limit(self, limits: dict[str, float]) -> None:
        """Set memory_bytes, memory_swap_bytes, cpus and pids."""

    def add(self, pid: int) -> None:
        """Move a process in. Slow, for it waits for an RCU grace period (2 to 15 ms): a container's way in is below."""

    def birthplace(self) -> int | None:
        """A descriptor for CLONE_INTO_CGROUP, which the caller closes; None where `doors` are the way in."""

    def doors(self) -> list[int]:
        """Descriptors that the caller closes: who writes ``0`` to each has moved itself in, if it has one thread."""

    def counters(self) -> Counters:
        """Read what it used; FileNotFoundError when it is gone."""

    def pids(self) -> list[int]:
        """The processes in it."""

    def kill(self) -> None:
        """SIGKILL to all in it, those that fork meanwhile included."""

    def remove(self) -> None:
        """Remove the empty group; absent is fine, OSError EBUSY when processes are left."""


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


def read_text(path: str) -> str:
    """A small kernel file."""
    with open(path) as file:
        return file.read()


def write_text(path: str, value: str | int) -> None:
    """Write a kernel file in one write; OSError names the path."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from None
    finally:
        os.close(descriptor)


def keyed(text: str) -> dict[str, int]:
    """A flat keyed file: one ``key value`` a line."""
    return {key: int(value) for key, _, value in (line.partition(" ") for line in text.splitlines())}


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
        try:
            group(instance, ENGINE_GROUP).remove()
            remove_instance(instance)
        except OSError as error:
            if error.errno != errno.EBUSY:  # a shim is in it
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
            if error.errno not in (errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY):
                raise
