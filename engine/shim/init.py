"""PID 1 of a container, from clone to execve. The order matters; isolation.md "Order of the child".

What fails is told to the starter as one message; what works is told by the socket closing at execve.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any, NoReturn

from engine.errors import EngineError, KernelError
from engine.linux import mount, process, tty
from engine.linux.mount import NODEV, NOSUID, RDONLY
from engine.shim import command, mounts, protocol, sysctls

FIRST_SIZE = (24, 80)  # of a terminal that nobody has sat down in front of
# What of the request its first process needs.
NEEDS = (
    *command.NEEDS, "rootfs", "etc", "volumes", "tmpfs", "tty", "init", "domainname", "namespaces", "sysctls",
    "devices", "shm_bytes", "read_only", "sealed",
)  # fmt: skip


def run(door: socket.socket, birth: mounts.Birth) -> NoReturn:
    """Prepare, wait at ``door`` for the starter's request, and become the container's command."""
    step = "preparing"

    def at(now: str) -> None:
        nonlocal step
        step = now

    def permit() -> None:
        process.prctl(process.PR_SET_PDEATHSIG, 0)  # a dead shim must not take a running container along
        protocol.send(door, {"step": "ready"})
        if protocol.receive(door) is None:  # limits are set, and the run is on record
            os._exit(125)

    try:
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)  # a dead shim's is nobody's
        command.settle(birth.capabilities)
        mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
        stage = mounts.prepare(birth)
        step = "setting up the root file system"
        message = protocol.receive(door)  # the maps are written
        if message is None:
            os._exit(125)
        request, streams = message
        process.prctl(process.PR_SET_DUMPABLE, 0)
        # While still the host's uid 0 to the file system, since WHARFIE_ROOT is closed to everybody else; and in this
        # mount namespace, since a mount can only be put on a place of one's own.
        helper = mount.tree(request["init"], add=RDONLY | NOSUID | NODEV) if request["init"] else -1
        place = os.open(request["rootfs"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # Linux before 6.9 wants the host's uid 0 for settings of an IPC namespace, too; later ones the container's.
        of_network = {name: value for name, value in request["sysctls"].items() if name.startswith("net.")}
        of_ipc = sysctls.apply(stage.settings, {k: v for k, v in request["sysctls"].items() if k not in of_network})
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)  # setresuid has cleared it
        sysctls.settle(stage.settings, of_ipc | of_network, own_network=bool(birth.own & process.CLONE_NEWNET))
        dev = mounts.devices(stage, request["shm_bytes"])
        etc = mounts.etc_copies(place, request["etc"])
        message = protocol.receive(door)  # the groups are made
        if message is None:
            os._exit(125)
        for group in message[1]:
            os.write(group, b"0")
            os.close(group)
        process.unshare(process.CLONE_NEWCGROUP)
        mounts.cgroups(stage)
        message = protocol.receive(door)  # the mounts
        if message is None:
            os._exit(125)
        root, *volumes = message[1]
        if request["devices"]:
            mounts.more_devices(dev, volumes.pop(), place, [device["target"] for device in request["devices"]])
        mount.attach(root, place)
        targets = [volume["target"] for volume in request["volumes"]]
        tmpfs = [(wanted["target"], mounts.tmpfs(wanted)) for wanted in request["tmpfs"]]
        mounts.assemble(root, stage, dev, etc, [*zip(targets, volumes, strict=True), *tmpfs])
        os.fchdir(root)
        mount.enter_root(".")
        if request["read_only"]:
            command.make_directory(request["workdir"])
            mount.mount_setattr(mount.AT_FDCWD, "/", 0, add=mount.RDONLY)
        if birth.own & process.CLONE_NEWUTS:
            process.sethostname(request["hostname"])
            process.setdomainname(request["domainname"])
        if request["sealed"]:
            _seal(door)
        command.become(request, _streams(request, streams, door), at, permit, helper)
    except EngineError as error:
        protocol.tell(door, error.to_wire())
    except OSError as error:
        protocol.tell(door, KernelError.from_os(error, step).to_wire())
    except BaseException as error:
        protocol.tell(door, KernelError(f"{step}: {error!r}").to_wire())
    finally:  # and nowhere else, be nobody there to be told
        os._exit(125)


def _streams(request: dict[str, Any], given: list[int], door: socket.socket) -> tuple[int, int, int]:
    """stdin, stdout and stderr: a terminal of its own, whose other end goes to the host, or what the starter gave."""
    if request["tty"]:
        master, slave = tty.pair()
        tty.control(slave)
        tty.resize(slave, *FIRST_SIZE)
        protocol.send(door, {"step": "terminal"}, [master])
        os.close(master)
        return slave, slave, slave
    *stdin, stdout, stderr = given
    return (stdin[0] if stdin else os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)), stdout, stderr


def _seal(door: socket.socket) -> None:
    """Move into a copy of the mount namespace in which no mount can be taken away; `engine.shim.sharing.sealed`."""
    protocol.send(door, {"step": "built"})
    message = protocol.receive(door)
    if message is None:
        os._exit(125)
    (namespace,) = message[1]
    process.setns(namespace, process.CLONE_NEWNS)
    os.close(namespace)
