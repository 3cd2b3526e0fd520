"""What PID 1 mounts into its root before it enters it. Values: isolation.md I10 to I14, after Docker's.

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
from typing import Any

from engine.linux import files, mount
from engine.linux.mount import AT_FDCWD, NODEV, NOEXEC, NOSUID, RDONLY

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
V1_VIEW = ("memory", "cpu", "cpuacct", "cpuset", "pids", "devices", "freezer", "blkio")

_IFF_UP, _SIOCSIFFLAGS = 0x1, 0x8914
_KERNEL = NOSUID | NODEV | NOEXEC


def build(root: int, request: dict[str, Any], etc: int, volume_fds: list[int]) -> None:
    """Mount everything below ``root``, the overlay's own descriptor."""
    proc = _proc(root)
    _sys(root, own_network=request["network"] != "host")
    _dev(root)
    _etc(root, etc, request["etc"])
    for volume, descriptor in zip(request["volumes"], volume_fds, strict=True):
        _put(descriptor, files.directory_beneath(root, volume["target"]))
    _settings(proc, own_network=request["network"] != "host")
    _mask(root, proc)
    os.close(proc)


def _put(detached: int, target: int) -> None:
    """Attach and close both."""
    try:
        mount.attach(detached, target)
    finally:
        os.close(detached)
        os.close(target)


def _proc(root: int) -> int:
    """Mount /proc; returns a descriptor of its root, which later steps use instead of any path."""
    proc = mount.filesystem("proc", attributes=_KERNEL)
    target = files.directory_beneath(root, "proc")
    mount.attach(proc, target)
    os.close(target)
    if files.filesystem_magic(proc) != files.PROC_SUPER_MAGIC:
        raise OSError("the new /proc is not a proc file system")
    return proc


def _sys(root: int, *, own_network: bool) -> None:
    """A new sysfs for this network namespace; with the host's network, the kernel allows only a copy of its /sys."""
    target = files.directory_beneath(root, "sys")
    if own_network:
        _put(mount.filesystem("sysfs", attributes=_KERNEL | RDONLY), target)
    else:
        copy = mount.open_tree(AT_FDCWD, "/sys", mount.OPEN_TREE_CLONE | mount.OPEN_TREE_CLOEXEC | mount.AT_RECURSIVE)
        mount.mount_setattr(copy, "", mount.AT_EMPTY_PATH | mount.AT_RECURSIVE, add=_KERNEL | RDONLY)
        _put(copy, target)
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        _put(mount.filesystem("cgroup2", attributes=_KERNEL | RDONLY), files.directory_beneath(root, "sys/fs/cgroup"))
        return
    view = mount.filesystem("tmpfs", [("mode", "755"), ("size", "64k")], attributes=_KERNEL)
    mounted = files.directory_beneath(root, "sys/fs/cgroup")
    mount.attach(view, mounted)
    for name in V1_VIEW:
        if os.path.isdir(f"/sys/fs/cgroup/{name}"):
            hierarchy = mount.filesystem("cgroup", [(name, None)], attributes=_KERNEL | RDONLY)
            _put(hierarchy, files.directory_beneath(view, name))
    mount.mount_setattr(view, "", mount.AT_EMPTY_PATH, add=RDONLY)
    os.close(view)
    os.close(mounted)


def _dev(root: int) -> None:
    dev = mount.filesystem("tmpfs", [("mode", "755"), ("size", "65536k")], attributes=NOSUID | NOEXEC)
    target = files.directory_beneath(root, "dev")
    mount.attach(dev, target)
    os.close(target)
    for name, number in DEVICES.items():
        _put(_host_device(name, number), files.file_beneath(dev, name))
    for name, text in LINKS.items():
        os.symlink(text, name, dir_fd=dev)
    pts = [("newinstance", None), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")]
    _put(mount.filesystem("devpts", pts, attributes=NOSUID | NOEXEC), files.directory_beneath(dev, "pts"))
    shm = [("mode", "1777"), ("size", "65536k")]
    _put(mount.filesystem("tmpfs", shm, attributes=_KERNEL), files.directory_beneath(dev, "shm"))
    _put(mount.filesystem("mqueue", attributes=_KERNEL), files.directory_beneath(dev, "mqueue"))
    os.close(dev)


def etc_store(place: int) -> int:
    """A small file system for `build`. It must be attached to be copied from, so it lies on ``place``, below the root
    that comes there next, and goes with the host's tree: an umount of its own would wait for a grace period."""
    store = mount.filesystem("tmpfs", [("mode", "755"), ("size", "256k")], attributes=_KERNEL)
    mount.attach(store, place)
    return store


def _etc(root: int, store: int, contents: dict[str, str]) -> None:
    """/etc/hosts and its like, made anew at each start, on a file system of their own: nothing of the image
    is overwritten, and no path of the host shows in mountinfo."""
    for name, text in contents.items():
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=store)
        os.write(descriptor, text.encode())
        os.close(descriptor)
        _put(mount.tree(name, dirfd=store), files.file_beneath(root, f"etc/{name}"))
    os.close(store)


def _host_device(name: str, number: tuple[int, int]) -> int:
    """A detached mount of one device node of the host: mknod(2) is refused in a user namespace."""
    node = mount.tree(f"/dev/{name}")
    status = os.fstat(node)
    if not stat.S_ISCHR(status.st_mode) or (os.major(status.st_rdev), os.minor(status.st_rdev)) != number:
        os.close(node)
        raise OSError(f"the host's /dev/{name} is not device {number[0]}:{number[1]}")
    return node


def _settings(proc: int, *, own_network: bool) -> None:
    """Kernel settings of the new namespaces, written before /proc/sys turns read-only."""
    values = {"sys/user/max_user_namespaces": "0"}  # no further user namespace in here; bwrap(1) --disable-userns
    if own_network:
        values["sys/net/ipv4/ping_group_range"] = "0 65535"
        values["sys/net/ipv4/ip_unprivileged_port_start"] = "0"
        _loopback_up()
    for path, value in values.items():
        descriptor = files.openat2(proc, path, os.O_WRONLY, resolve=files.BENEATH | files.NO_SYMLINKS | files.NO_XDEV)
        try:
            if files.filesystem_magic(descriptor) != files.PROC_SUPER_MAGIC:  # CVE-2025-52881
                raise OSError(f"{path} is not on proc")
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)


def _loopback_up() -> None:
    """netdevice(7): struct ifreq with the name and the flags."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
        fcntl.ioctl(door, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def _mask(root: int, proc: int) -> None:
    """Hide what tells about the host, and make read-only what would change it. What this kernel lacks is skipped."""
    for path in READ_ONLY:
        place = _existing(proc, path)
        if place is not None:
            _put(mount.tree(path, dirfd=proc, add=_KERNEL | RDONLY), place)
    sys_root = files.directory_beneath(root, "sys")
    empty: int | None = None
    targets = [_existing(proc, path) for path in MASKED] + [_existing(sys_root, path) for path in _masked_sys()]
    for target in targets:
        if target is None:
            continue
        if stat.S_ISDIR(os.fstat(target).st_mode):
            if empty is None:
                empty = mount.filesystem("tmpfs", [("mode", "555"), ("size", "4k")], attributes=_KERNEL | RDONLY)
                first = os.dup(target)
                _put(os.dup(empty), first)
            else:
                _put(mount.tree("", dirfd=empty), os.dup(target))
        else:
            _put(_host_device("null", (1, 3)), os.dup(target))
        os.close(target)
    if empty is not None:
        os.close(empty)
    os.close(sys_root)


def _masked_sys() -> list[str]:
    throttles = [f"devices/system/cpu/cpu{number}/thermal_throttle" for number in range(os.cpu_count() or 1)]
    return [*MASKED_SYS, *throttles]


def _existing(root: int, path: str) -> int | None:
    try:
        return files.openat2(root, path, os.O_PATH, resolve=files.BENEATH | files.NO_SYMLINKS)
    except FileNotFoundError:
        return None
