"""A further process of a running container that stands in a root of its own: an image with tools, where the container's
has none. The container's are below it, to be looked at and written to.

    session, root of the host        the image's layers below a scratch in memory, and a copy of the container's mounts:
                                     detached, idmapped, no path of the container's is looked up
       └─ process                    joins all but the mount namespace; /proc, /sys and queues of what it has joined;
                                     then the user namespace, and builds its tree as a first process does
                                     (`engine.shim.mounts`), in a mount namespace of its own
                                     is moved into a copy of that in which no mount can be taken away

Nothing of it is ever attached to the host's tree or to the container's, and it ends with its last process. The copy is
private: what a container mounts from then on does not come along. What it shows are the container's own mounts with
their masks, so nobody gets more by it than he has. namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, NamedTuple

from engine.linux import files, helper, mount, overlayfs, process
from engine.linux.mount import NODEV, NOEXEC, NOSUID, RDONLY
from engine.shim import command, mounts, protocol, sharing

SCRATCH_BYTES = 256 * 2**20  # of what is written to the toolbox itself; counted in the container's memory
_OTHERS = (
    process.CLONE_NEWUTS | process.CLONE_NEWIPC | process.CLONE_NEWNET | process.CLONE_NEWCGROUP | process.CLONE_NEWTIME
)
_LINKED = ("hosts", "hostname", "resolv.conf")  # of the network that both are in


class Toolbox(NamedTuple):
    """What only the host's root can make, as open descriptors: made before the process is born, which inherits them."""

    userns: int  # the container's
    root: int  # detached: the image, below a scratch
    theirs: int  # detached: the container's own tree

    def close(self) -> None:
        """The process has its own."""
        for descriptor in self:
            os.close(descriptor)


def made(request: dict[str, Any], init_pidfd: int, uid_base: int) -> Toolbox:
    """For one process of the container whose first process this is. The caller closes it."""
    held: list[int] = []
    try:
        held.append(sharing.user_namespace(init_pidfd) if uid_base else _open("/proc/self/ns/user"))
        ids = held[0] if uid_base else None
        held.append(helper.descriptor(lambda: _root(request["layers"], request["place"], uid_base, ids)))
        held.append(helper.descriptor(lambda: _tree_of(init_pidfd)))
        return Toolbox(*held)
    except BaseException:
        for descriptor in held:
            os.close(descriptor)
        raise


def _root(layers: list[str], place: str, owner: int, ids: int | None) -> int:
    """In a helper: an overlay whose upper directory is in memory, and of the container's root. It lies on ``place``,
    since some kernels take only what is in the caller's mount namespace."""
    process.unshare(process.CLONE_NEWNS)
    mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
    scratch = mount.filesystem("tmpfs", [("mode", "700"), ("size", str(SCRATCH_BYTES))], attributes=NOSUID | NODEV)
    for name in ("upper", "work"):
        os.mkdir(name, dir_fd=scratch)
        os.chmod(name, 0o755, dir_fd=scratch)  # whatever our umask is: it becomes the root's
        os.chown(name, owner, owner, dir_fd=scratch)
    target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount.attach(scratch, target)
    return overlayfs.create(layers, f"{place}/upper", f"{place}/work", ids)


def _tree_of(init_pidfd: int) -> int:
    """In a helper: a copy of all mounts of the container, private even where it has made them shared."""
    process.setns(init_pidfd, process.CLONE_NEWNS)
    flag = mount.OPEN_TREE_CLONE | mount.OPEN_TREE_CLOEXEC | mount.AT_RECURSIVE
    tree = mount.open_tree(mount.AT_FDCWD, "/", flag)
    mount.mount_setattr(tree, "", mount.AT_EMPTY_PATH | mount.AT_RECURSIVE, propagation=mount.MS_PRIVATE)
    return tree


def enter(box: Toolbox, request: dict[str, Any], init_pidfd: int, uid_base: int, door: socket.socket) -> None:
    """Join the container, and stand in the toolbox's root, as root of the container. The session is at ``door``."""
    process.setns(init_pidfd, _OTHERS)
    # By the host's root: these show namespaces that the container may only share, and then its own root may not.
    shown = {
        "proc": mount.filesystem("proc", attributes=NOSUID | NODEV | NOEXEC),
        "sys": mount.filesystem("sysfs", attributes=NOSUID | NODEV | NOEXEC | RDONLY),
        "mqueue": mount.filesystem("mqueue", attributes=NOSUID | NODEV | NOEXEC),
    }
    if uid_base:  # nobody may join the user namespace that he is in; and only the host's begins with its uid 0
        process.setns(box.userns, process.CLONE_NEWUSER)
    process.unshare(process.CLONE_NEWNS)
    mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
    stage = mounts.prepare(mounts.Birth(0, command.CAPABILITIES, shown))
    os.close(stage.settings)
    place = _open(request["place"], os.O_PATH | os.O_DIRECTORY)  # while still the owner of the store
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    process.prctl(process.PR_SET_DUMPABLE, 0)
    dev = mounts.devices(stage, request["shm_bytes"])
    mounts.cgroups(stage)
    mount.attach(box.root, place)
    mounts.assemble(box.root, stage, dev, {}, [(request["container"], box.theirs)])
    _link(box.root, request["container"])
    os.fchdir(box.root)
    mount.enter_root(".")
    for descriptor in (place, box.root, box.userns, *shown.values()):
        os.close(descriptor)
    if uid_base:
        protocol.send(door, {"step": "built"})
        message = protocol.receive(door)
        if message is None:
            os._exit(125)
        process.setns(message[1][0], process.CLONE_NEWNS)
        os.close(message[1][0])


def _link(root: int, container: str) -> None:
    """Names as the container has them. Where these lead is looked up by who reads them, and in this root."""
    etc = files.directory_beneath(root, "etc")
    for name in _LINKED:
        with contextlib.suppress(FileNotFoundError):  # the image has none
            os.unlink(name, dir_fd=etc)
        os.symlink(f"{container}/etc/{name}", name, dir_fd=etc)
    os.close(etc)


def _open(path: str, flag: int = os.O_RDONLY) -> int:
    return os.open(path, flag | os.O_CLOEXEC)
