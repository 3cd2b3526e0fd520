"""Runs inside a container with every capability: tries to get at what must stay shut, and prints what it met."""

import ctypes
import errno
import json
import os

libc = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MNT_DETACH = 1, 32, 4096, 8192, 2
CLONE_NEWNS = 0x20000


def tried(result):
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def mount(source, target, kind=None, flags=0, data=None):
    words = [None if word is None else word.encode() for word in (source, target, kind)]
    return tried(libc.mount(*words, ctypes.c_ulong(flags), None if data is None else data.encode()))


def umount(target, flags=0):
    return tried(libc.umount2(target.encode(), flags))


def mounts():
    with open("/proc/self/mountinfo") as file:
        return [line.split() for line in file]


def read(path):
    with open(path) as file:
        return file.read()


def writes(path):
    try:
        with open(path, "r+b", buffering=0) as file:
            file.write(b"1")
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


def makes(act):
    try:
        act()
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


def attack():
    below = [fields[4] for fields in mounts() if fields[4] != "/"]
    read_only = [fields[4] for fields in mounts() if "ro" in fields[5].split(",")]
    flagged = [fields[4] for fields in mounts() if "nodev" in fields[5].split(",")]
    found = {
        "unmounted": [path for path in below if umount(path) == "ok"],
        "unmounted lazily": [path for path in below if umount(path, MNT_DETACH) == "ok"],
        "made writable": [path for path in read_only if mount(None, path, flags=MS_REMOUNT | MS_BIND) == "ok"],
        "made to hold devices": [path for path in flagged if mount(None, path, flags=MS_REMOUNT | MS_BIND) == "ok"],
        "moved": [path for path in below if mount(path, "/tmp/place", flags=MS_MOVE) == "ok"],
        "a new proc": mount("proc", "/tmp/place", "proc"),
        "a new sysfs": mount("sysfs", "/tmp/place", "sysfs"),
        "the disk": [mount(f"/dev/{name}", "/tmp/place", "ext4") for name in ("vda", "vda1", "sda1", "root")],
        "devtmpfs": mount("devtmpfs", "/tmp/place", "devtmpfs"),
        "securityfs": mount("securityfs", "/tmp/place", "securityfs"),
        "debugfs": mount("debugfs", "/tmp/place", "debugfs"),
        "a node of a disk": makes(lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0))),
        "a node of kmsg": makes(lambda: os.mknod("/tmp/kmsg", 0o20600, os.makedev(1, 11))),
        "knobs of the host": {
            path: writes(path)
            for path in (
                "/proc/sys/kernel/core_pattern",
                "/proc/sys/kernel/modprobe",
                "/proc/sys/vm/drop_caches",
                "/proc/sys/user/max_user_namespaces",
                "/proc/sysrq-trigger",
                "/proc/irq/default_smp_affinity",
                "/sys/kernel/mm/transparent_hugepage/enabled",
                "/sys/power/state",
            )
            if os.path.lexists(path)
        },
        "keys": read("/proc/keys"),
        "a user namespace": tried(libc.unshare(0x10000000)),
        "the clock": makes(lambda: __import__("time").clock_settime(0, 1e9)),
        "cgroups": {},
    }
    for controller in ("memory", "devices", "pids"):
        if mount("cgroup", "/tmp/group", "cgroup", 0, controller) == "ok":
            found["cgroups"][controller] = [
                makes(lambda: os.mkdir("/tmp/group/mine")),
                *(
                    writes(f"/tmp/group/{name}")
                    for name in ("memory.limit_in_bytes", "devices.allow", "pids.max", "release_agent", "cgroup.procs")
                    if os.path.exists(f"/tmp/group/{name}")
                ),
            ]
            umount("/tmp/group")
    if mount("cgroup2", "/tmp/group", "cgroup2") == "ok":
        names = ("memory.max", "pids.max", "cgroup.procs")
        present = [name for name in names if os.path.exists(f"/tmp/group/{name}")]
        found["cgroups"]["v2"] = [
            makes(lambda: os.mkdir("/tmp/group/mine")),
            *(writes(f"/tmp/group/{n}") for n in present),
        ]
        umount("/tmp/group")
    return found


os.mkdir("/tmp/place")
os.mkdir("/tmp/group")
first = attack()
works = {
    "a tmpfs": mount("none", "/tmp/place", "tmpfs"),
    "its end": umount("/tmp/place"),
    "a mount namespace": tried(libc.unshare(CLONE_NEWNS)),
    "a name": tried(libc.sethostname(b"mine", 4)),
}
print(json.dumps({"first": first, "works": works, "in a mount namespace of its own": attack()}))
