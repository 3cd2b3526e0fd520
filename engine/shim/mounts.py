"""What PID 1 mounts into its root before it enters it. Values: isolation.md I10 to I14, after Docker's.

In steps, since not all need the request: `prepare`, then `devices`, `etc_copies`, `cgroups`, then `assemble`.
Runs as root of the container's own user namespace. Every target is reached by descriptor without following
a link, so an image cannot send a mount elsewhere; every mask comes from the host's own /dev/null, checked by its
device number (CVE-2025-31133).
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
from typing import Any, NamedTuple

from engine.errors import InvalidRequest
from engine.linux import files, mount, places, process
from engine.linux.mount import NODEV, NOEXEC, NOSUID, RDONLY
from engine.shim import sysctls

MASKED = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
]  # below /proc
MASKED_SYS = ("devices/virtual/powercap", "firmware")
READ_ONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")  # below /proc
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
         "ptmx": "pts/ptmx"}  # fmt: skip
V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
V1_SHOWN = {"memory", "cpu", "cpuacct", "cpuset", "pids", "devices", "freezer", "blkio"}


def v1_view(groups: str) -> list[list[str]]:
    """The hierarchies that a container sees, each by all its controllers, for with fewer the kernel would take it for
    another one; out of /proc/self/cgroup, cgroups(7)."""
    found = [line.split(":")[1].split(",") for line in groups.splitlines()]
    return [names for names in found if V1_SHOWN & set(names)]


def _v1_view_here() -> list[list[str]]:
    with open("/proc/self/cgroup", encoding="ascii", errors="replace") as file:
        return [names for names in v1_view(file.read()) if os.path.isdir(f"/sys/fs/cgroup/{names[0]}")]


V1_VIEW = [] if V2 else _v1_view_here()

_IFF_UP, _SIOCSIFFLAGS = 0x1, 0x8914
_KERNEL = NOSUID | NODEV | NOEXEC


class Stage(NamedTuple):
    """File systems that a container will see, made before it is known which one: open descriptors of their roots."""

    proc: int  # attached and masked
    sys: int  # attached and masked
    cgroup: int  # the place for cgroup file systems in it
    devices: dict[str, int]  # detached copies of the host's nodes
    settings: int  # /proc/sys, where it can still be written to
    shared: dict[str, int]  # what the host's root made; see `engine.shim.sharing`


class Birth(NamedTuple):
    """How an init was born."""

    own: int  # the namespaces of its own, as flags of clone(2)
    capabilities: int  # what may stay in its bounding set
    shared: dict[str, int]  # detached mounts of file systems that show the others


def prepare(birth: Birth) -> Stage:
    """All that needs neither ids nor groups, attached to the host's own places in this private copy of its tree."""
    devices = {name: _host_device(name, number) for name, number in DEVICES.items()}
    masks = [_host_device("null", (1, 3)) for _ in MASKED]
    proc = _made("proc", birth.shared, "proc", _KERNEL)
    _attach(proc, "/proc")
    if files.filesystem_magic(proc) != files.PROC_SUPER_MAGIC:
        raise OSError("the new /proc is not a proc file system")
    settings = sysctls.opened(proc)
    if birth.own & process.CLONE_NEWUSER:
        sysctls.put(settings, "user.max_user_namespaces", "0")  # none in here; bwrap(1) --disable-userns
    if birth.own & process.CLONE_NEWNET:
        sysctls.put(settings, "net.ipv4.ip_unprivileged_port_start", "0")
        _loopback_up()
    for path in READ_ONLY:
        place = _existing(proc, path)
        if place is not None:
            _put(mount.tree(path, dirfd=proc, add=_KERNEL | RDONLY), place)
    sys = _made("sysfs", birth.shared, "sys", _KERNEL | RDONLY)
    _attach(sys, "/sys")
    _mask([_existing(proc, path) for path in MASKED] + [_existing(sys, path) for path in _masked_sys()], masks)
    return Stage(proc, sys, files.directory_beneath(sys, "fs/cgroup"), devices, settings, birth.shared)


def _made(fstype: str, shared: dict[str, int], name: str, attributes: int) -> int:
    """A new file system, unless one was made for this container already, since it may not do that itself."""
    return os.dup(shared[name]) if name in shared else mount.filesystem(fstype, attributes=attributes)


def devices(stage: Stage, shm_bytes: int) -> int:
    """/dev, which needs ids; returns its descriptor."""
    dev = mount.filesystem("tmpfs", [("mode", "755"), ("size", "65536k")], attributes=NOSUID | NOEXEC)
    _attach(dev, "/dev")
    for name, node in stage.devices.items():
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=dev))
        _put(node, os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=dev))
    for name, text in LINKS.items():
        os.symlink(text, name, dir_fd=dev)
    pts = [("newinstance", None), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")]
    _put(mount.filesystem("devpts", pts, attributes=NOSUID | NOEXEC), files.directory_beneath(dev, "pts"))
    if "shm" in stage.shared:
        shm = os.dup(stage.shared["shm"])
    else:
        shm = mount.filesystem("tmpfs", [("mode", "1777"), ("size", str(shm_bytes))], attributes=_KERNEL)
    _put(shm, files.directory_beneath(dev, "shm"))
    _put(_made("mqueue", stage.shared, "mqueue", _KERNEL), files.directory_beneath(dev, "mqueue"))
    return dev


def more_devices(dev: int, store: int, place: int, targets: list[str]) -> None:
    """Put the device files of ``store``, see `engine.shim.rootfs.devices`, where they are wanted below /dev.

    To be copied from, the store lies on ``place``, as in `etc_copies`."""
    mount.attach(store, place)
    for number, target in enumerate(targets):
        directory, _, name = target.removeprefix("/dev/").rpartition("/")
        parent = files.directory_beneath(dev, directory) if directory else os.dup(dev)
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent))
        node = mount.tree(str(number), dirfd=store)
        _put(node, os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent))
        os.close(parent)
    os.close(store)


def assemble(root: int, stage: Stage, dev: int, etc: dict[str, int], volumes: list[tuple[str, int]]) -> None:
    """Move everything to its place below ``root``, the overlay's own descriptor."""
    for name, made in (("proc", stage.proc), ("sys", stage.sys), ("dev", dev)):
        _put(made, files.directory_beneath(root, name))
    for name, copy in etc.items():
        _put(copy, _place(root, f"/etc/{name}", directory=False))
    for target, volume in sorted(
        volumes, key=lambda each: os.path.normpath(f"//{each[0]}")
    ):  # /a before /a/b, which it would hide
        _put(volume, _place(root, target, directory=stat.S_ISDIR(os.fstat(volume).st_mode)))


def tmpfs(wanted: dict[str, Any]) -> int:
    """A new file system in memory. Its pages count in the control group of whoever writes them, so the container's."""
    options = [("mode", f"{wanted['mode']:o}")]
    if wanted["size_bytes"] is not None:
        options.append(("size", str(wanted["size_bytes"])))
    attributes = NOSUID | NODEV | (0 if wanted["executable"] else NOEXEC) | (RDONLY if wanted["read_only"] else 0)
    return mount.filesystem("tmpfs", options, attributes=attributes)


def _place(root: int, target: str, *, directory: bool) -> int:
    try:
        return places.place(root, target, directory=directory)
    except OSError as error:
        what = "a directory" if directory else "a file"
        raise InvalidRequest(
            f"nothing can be mounted on {target!r}: {os.strerror(error.errno or 0)}",
            hint=f"the image must have {what} there, or nothing",
            field="volumes" if directory else "image",
        ) from error


def _put(detached: int, target: int) -> None:
    """Attach and close both."""
    try:
        mount.attach(detached, target)
    finally:
        os.close(detached)
        os.close(target)


def _attach(detached: int, path: str) -> None:
    """Attach on a directory of the host's tree, of which this process has a private copy."""
    target = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mount.attach(detached, target)
    finally:
        os.close(target)


def cgroups(stage: Stage) -> None:
    """The container's own groups, as roots: this comes after the new cgroup namespace."""
    place = stage.cgroup
    if V2:
        _put(mount.filesystem("cgroup2", attributes=_KERNEL | RDONLY), place)
        return
    view = mount.filesystem("tmpfs", [("mode", "755"), ("size", "64k")], attributes=_KERNEL)
    mount.attach(view, place)
    for names in V1_VIEW:
        hierarchy = mount.filesystem("cgroup", [(name, None) for name in names], attributes=_KERNEL | RDONLY)
        _put(hierarchy, files.directory_beneath(view, ",".join(names)))
        for name in names if len(names) > 1 else ():
            os.symlink(",".join(names), name, dir_fd=view)
    mount.mount_setattr(view, "", mount.AT_EMPTY_PATH, add=RDONLY)
    os.close(view)
    os.close(place)


def etc_copies(place: int, contents: dict[str, str]) -> dict[str, int]:
    """/etc/hosts and its like, made anew at each start, on a small file system of their own: nothing of the image
    is overwritten, and no path of the host shows in mountinfo. Returns detached copies.

    The store must be attached to be copied from, so it lies on ``place``, below the root that comes there next, and
    goes with the host's tree: an umount of its own would wait for a grace period."""
    store = mount.filesystem("tmpfs", [("mode", "755"), ("size", "256k")], attributes=_KERNEL)
    mount.attach(store, place)
    copies = {}
    for name, text in contents.items():
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=store)
        files.write_all(descriptor, text.encode())
        os.close(descriptor)
        copies[name] = mount.tree(name, dirfd=store)
    os.close(store)
    return copies


def _host_device(name: str, number: tuple[int, int]) -> int:
    """A detached mount of one device node of the host: mknod(2) is refused in a user namespace."""
    node = mount.tree(f"/dev/{name}")
    status = os.fstat(node)
    if not stat.S_ISCHR(status.st_mode) or (os.major(status.st_rdev), os.minor(status.st_rdev)) != number:
        os.close(node)
        raise OSError(f"the host's /dev/{name} is not device {number[0]}:{number[1]}")
    return node


def _loopback_up() -> None:
    """netdevice(7): struct ifreq with the name and the flags."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
        fcntl.ioctl(door, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def _mask(targets: list[int | None], nulls: list[int]) -> None:
    """Hide what tells about the host. What this kernel lacks is skipped."""
    empty: int | None = None
    for target in targets:
        if target is None:
            continue
        if not stat.S_ISDIR(os.fstat(target).st_mode):
            _put(nulls.pop(), target)
        elif empty is None:
            empty = mount.filesystem("tmpfs", [("mode", "555"), ("size", "4k")], attributes=_KERNEL | RDONLY)
            _put(os.dup(empty), target)
        else:
            _put(mount.tree("", dirfd=empty), target)
    for descriptor in (*nulls, *(() if empty is None else (empty,))):
        os.close(descriptor)


def _masked_sys() -> list[str]:
    cpus = [name for name in os.listdir("/sys/devices/system/cpu") if name[3:].isdigit()]  # there may be gaps
    return [*MASKED_SYS, *(f"devices/system/cpu/{cpu}/thermal_throttle" for cpu in cpus)]


def _existing(root: int, path: str) -> int | None:
    try:
        return files.openat2(root, path, os.O_PATH, resolve=files.BENEATH | files.NO_SYMLINKS)
    except FileNotFoundError:
        return None
