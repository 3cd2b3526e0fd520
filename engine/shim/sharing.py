"""Namespaces that a container shares: the host's, or those of another container that runs.

The init of a container that shares some is born in them: the starter enters them for that moment. It still gets a user
namespace of its own, so its root has no rights over what it shares: it cannot configure the network of another one, nor
trace its processes, whatever its capabilities. That is why the host's root makes the file systems that show such a
namespace, which only root of the namespace's owner may mount. A container that shares processes or IPC lives on the ids
of the one that it shares with (`engine.containers.create`), or signals and shared memory could not pass.
namespaces(7), setns(2), user_namespaces(7) "Interaction of user namespaces and other types of namespaces".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from engine.errors import WrongState
from engine.linux import files, helper, mount, pidfds, process
from engine.linux.mount import NODEV, NOEXEC, NOSUID, RDONLY

KINDS = {
    "user": process.CLONE_NEWUSER,
    "pid": process.CLONE_NEWPID,
    "uts": process.CLONE_NEWUTS,
    "ipc": process.CLONE_NEWIPC,
    "network": process.CLONE_NEWNET,
}
HOST = "host"
_HARMLESS = NOSUID | NODEV | NOEXEC


def own(wanted: Mapping[str, str]) -> int:
    """The namespaces that are to be the container's own, as flags of clone(2). ``wanted`` tells of each kind: "" its
    own, "host", or the path of the run record of the container that it is shared with."""
    return sum(flag for kind, flag in KINDS.items() if not wanted[kind])


@contextmanager
def joined(wanted: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """Be in the namespaces that are shared, for a child to be born there; WrongState when another one does not run.

    Gives detached mounts of the file systems that show them, by the names of `engine.shim.mounts`.
    """
    with ExitStack() as stack:
        others = {kind: _first_process(path) for kind, path in wanted.items() if path not in ("", HOST)}
        for pidfd in others.values():
            stack.callback(os.close, pidfd)
        for kind, pidfd in others.items():
            stack.callback(_enter, os.open(f"/proc/self/ns/{_FILES[kind]}", os.O_RDONLY | os.O_CLOEXEC), KINDS[kind])
            process.setns(pidfd, KINDS[kind])
        shown: dict[str, int] = {}
        stack.callback(_close, shown)
        if wanted["pid"]:
            # Shows the pid namespace of whoever makes it, and a process never changes its own: so a child does.
            shown["proc"] = helper.descriptor(lambda: mount.filesystem("proc", attributes=_HARMLESS))
        if wanted["network"]:
            shown["sys"] = mount.filesystem("sysfs", attributes=_HARMLESS | RDONLY)
        if wanted["ipc"]:
            shown["mqueue"] = mount.filesystem("mqueue", attributes=_HARMLESS)
            if wanted["ipc"] == HOST:
                shown["shm"] = mount.tree("/dev/shm", add=_HARMLESS)
            else:
                shown["shm"] = helper.descriptor(lambda: _shared_memory(others["ipc"]))
        yield shown


def _close(shown: dict[str, int]) -> None:
    for descriptor in shown.values():
        os.close(descriptor)


_FILES = {"pid": "pid", "ipc": "ipc", "network": "net"}  # names in /proc/PID/ns


def _enter(namespace: int, kind: int) -> None:
    process.setns(namespace, kind)
    os.close(namespace)


def _first_process(record: str) -> int:
    """A pidfd of another container's first process; WrongState when there is none."""
    pidfd = _alive(record)
    if pidfd is None:
        raise WrongState(
            f"container {os.path.basename(record)[:12]}, whose namespaces it shares, does not run",
            hint="start that one first",
            field="namespaces",
        )
    return pidfd


def _alive(record: str) -> int | None:
    """A pid counts with its start time and in its boot alone."""
    try:
        with open(record, "rb") as file:
            facts = json.load(file)
        return pidfds.opened(facts["pid"], facts["start_time"]) if facts["boot_id"] == process.boot_id() else None
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _shared_memory(pidfd: int) -> int:
    """The other container's /dev/shm. In its mount namespace, as the host's root: so no link is followed."""
    process.setns(pidfd, process.CLONE_NEWNS)
    place = files.openat2(
        mount.AT_FDCWD, "/dev/shm", os.O_PATH | os.O_DIRECTORY, resolve=files.NO_SYMLINKS | files.NO_MAGICLINKS
    )
    if files.filesystem_magic(place) != files.TMPFS_MAGIC:
        raise OSError("the other container's /dev/shm is not a tmpfs")
    return mount.tree("", dirfd=place, add=_HARMLESS)


def user_namespace(init_pidfd: int) -> int:
    """A container's own user namespace, by its first process; not to be asked of one on the host's. No number is looked
    up: by now its pid may be another's."""

    def join() -> int:
        namespaces = os.open("/proc/self/ns", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        process.setns(init_pidfd, process.CLONE_NEWUSER)
        return os.open("user", os.O_RDONLY | os.O_CLOEXEC, dir_fd=namespaces)

    return helper.descriptor(join)


def sealed(init_pidfd: int, userns: int) -> int:
    """A copy of a container's mount namespace in which its own root can take no mount away; mount_namespaces(7),
    "Restrictions on mount namespaces". Returns its descriptor.

    What a container mounts itself it may also unmount, if it has CAP_SYS_ADMIN: the masks too. So its mounts go through
    a namespace of the host's: copied from there into one of its user namespace again, they are locked.
    """

    def copy() -> int:
        namespaces = os.open("/proc/self/ns", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        process.setns(init_pidfd, process.CLONE_NEWNS)
        process.unshare(process.CLONE_NEWNS)
        process.setns(userns, process.CLONE_NEWUSER)
        process.unshare(process.CLONE_NEWNS)
        return os.open("mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=namespaces)

    return helper.descriptor(copy)
