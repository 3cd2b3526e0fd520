"""The isolation list as data: what is looked at in the probe's findings, and what it must be under Wharfie."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Facts = dict[str, Any]

CAPABILITIES = "00000000800405fb"
REFUSED_CALLS = (
    "add_key", "bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "get_mempolicy", "init_module",
    "io_uring_enter", "io_uring_register", "io_uring_setup", "kcmp", "kexec_file_load", "kexec_load", "keyctl",
    "mbind", "migrate_pages", "mount", "mount_setattr", "move_mount", "move_pages", "open_by_handle_at",
    "open_tree", "perf_event_open", "pidfd_getfd", "pivot_root", "process_madvise", "quotactl", "request_key",
    "setns", "swapoff", "syslog", "umount2", "unshare", "userfaultfd",
)  # fmt: skip
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/devices/system/cpu/cpu*/thermal_throttle", "/sys/firmware",
)  # fmt: skip
MOUNTS = {
    "/": "overlay rw nodev",
    "/proc": "proc rw nosuid nodev noexec",
    "/proc/bus": "proc ro nosuid nodev noexec",
    "/proc/fs": "proc ro nosuid nodev noexec",
    "/proc/irq": "proc ro nosuid nodev noexec",
    "/proc/sys": "proc ro nosuid nodev noexec",
    "/sys": "sysfs ro nosuid nodev noexec",
    "/dev": "tmpfs rw nosuid noexec",
    "/dev/pts": "devpts rw nosuid noexec",
    "/dev/shm": "tmpfs rw nosuid nodev noexec",
    "/dev/mqueue": "mqueue rw nosuid nodev noexec",
}
DEVICES = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
LINKS = {"fd": "/proc/self/fd", "ptmx": "pts/ptmx"}
LINKS |= {name: f"/proc/self/fd/{number}" for number, name in enumerate(("stdin", "stdout", "stderr"))}
NOT_OURS_TO_RESET = (1 << 12) | (1 << 24)  # SIGPIPE and SIGXFSZ, which the probe's own Python ignores
LOWEST_ID = 524_288


@dataclass(frozen=True)
class Row:
    """One check. It holds when what is found is one of ``expected``."""

    id: str  # of the isolation list
    check: str
    expected: tuple[str, ...]
    found: Callable[[Facts], str]

    @property
    def name(self) -> str:
        """How a test report calls it."""
        return f"{self.id} {self.check}"

    def holds(self, facts: Facts) -> bool:
        """Whether this is as it must be."""
        return self.found(facts) in self.expected


def _row(id_: str, check: str, expected: str, found: Callable[[Facts], str]) -> Row:
    return Row(id_, check, tuple(expected.split("|")), found)


def _at(*keys: str | int) -> Callable[[Facts], str]:
    def found(facts: Facts) -> str:
        value: Any = facts
        for key in keys:
            value = value[key]
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    return found


def _status(name: str) -> Callable[[Facts], str]:
    return _at("status", name)


def _namespace(name: str) -> Callable[[Facts], str]:
    def found(facts: Facts) -> str:
        if not os.path.exists(f"/proc/self/ns/{name}"):
            return "not in this kernel"
        return "the host's" if facts["namespaces"][name] == os.readlink(f"/proc/self/ns/{name}") else "own"

    return found


def _id_map(name: str) -> Callable[[Facts], str]:
    def found(facts: Facts) -> str:
        inside, outside, count = (int(word) for word in facts[name])
        return f"{count} ids, {inside} is {'none of the host' if outside >= LOWEST_ID else f'{outside} of the host'}"

    return found


def _mount(path: str) -> Callable[[Facts], str]:
    def found(facts: Facts) -> str:
        if path not in facts["mounts"]:
            return "no mount"
        mount = facts["mounts"][path]
        options = [name for name in ("ro", "rw", "nosuid", "nodev", "noexec") if name in mount["options"]]
        return " ".join([mount["type"], *options])

    return found


def _super(path: str, *names: str) -> Callable[[Facts], str]:
    def found(facts: Facts) -> str:
        given = facts["mounts"].get(path, {"super": ""})["super"].split(",")
        return " ".join(option for option in given if option.partition("=")[0] in names)

    return found


def _device(name: str) -> Callable[[Facts], str]:
    return lambda facts: str(facts["dev"].get(name, "absent")).replace("0o666:", "0666 ")


def _cgroups_of_host(facts: Facts) -> str:
    answers = set(facts["cgroup_made"].values())
    return "refused" if answers <= {"EROFS", "EACCES"} else "made"


def _propagation(facts: Facts) -> str:
    return " ".join(sorted({tag for mount in facts["mounts"].values() for tag in mount["tags"]})) or "none"


def _environment(facts: Facts) -> str:
    # HOSTNAME is a peer's choice; LC_CTYPE is set by Python itself.
    return " ".join(sorted(set(facts["environment"]) - {"LC_CTYPE"}))


def _ignored(facts: Facts) -> str:
    return f"{int(facts['status']['SigIgn'], 16) & ~NOT_OURS_TO_RESET:016x}"


IN_A_TERMINAL = {
    "I28 environment": ("HOME HOSTNAME PATH TERM",),
    "I30 controlling terminal": ("ok",),
    "I30 standard input": ("/dev/pts/0",),
}
ENTERED = {"I29 pid 1 is the command": ("sleep",)}

ROWS = [
    *(_row("I1", name, CAPABILITIES, _status(name)) for name in ("CapPrm", "CapEff", "CapBnd")),
    *(_row("I2", name, "0" * 16, _status(name)) for name in ("CapInh", "CapAmb")),
    _row("I4", "NoNewPrivs", "1", _status("NoNewPrivs")),
    _row("I5", "Seccomp", "2", _status("Seccomp")),
    _row("I5", "Seccomp_filters", "1", _status("Seccomp_filters")),
    *(_row("I6", name, "EPERM", _at("syscalls", name)) for name in REFUSED_CALLS),
    _row("I6", "clone with a new user namespace", "EPERM", _at("clone")),
    _row("I6", "clone3", "ENOSYS", _at("syscalls", "clone3")),
    _row("I6", "ptrace", "ok", _at("ptrace")),
    _row("I6", "personality 0", "ok", _at("personality", "0x0")),
    _row("I6", "personality ADDR_NO_RANDOMIZE", "EPERM", _at("personality", "0x40000")),
    _row("I6", "socket AF_INET", "ok", _at("sockets", "2")),
    _row("I6", "socket AF_KEY", "EPERM", _at("sockets", "15")),
    _row("I6", "socket AF_PACKET", "EPERM|EAFNOSUPPORT", _at("sockets", "17")),
    _row("I6", "socket AF_RXRPC", "EPERM", _at("sockets", "33")),
    _row("I6", "NETLINK_XFRM", "EPERM|EPROTONOSUPPORT", _at("xfrm")),
    _row("I6", "socket AF_ALG", "EPERM", _at("sockets", "38")),
    _row("I6", "socket AF_VSOCK", "EPERM", _at("sockets", "40")),
    _row("I6", "a call of the x32 ABI", "SIGSYS", _at("syscalls", "x32_getpid")),
    _row("I6", "a call of the i386 ABI", "SIGSYS", _at("i386")),
    *(
        _row("I7", f"{name} namespace", "own|not in this kernel" if name == "time" else "own", _namespace(name))
        for name in NAMESPACES
    ),
    *(_row("I8", name, "65536 ids, 0 is none of the host", _id_map(name)) for name in ("uid_map", "gid_map")),
    _row("I8", "setgroups", "allow", _at("setgroups")),
    _row("I9", "user.max_user_namespaces", "0", _at("max_user_namespaces")),
    *(_row("I10", path, "empty|absent", _at("masked", path)) for path in MASKED),
    *(
        _row("I11", f"writing {path}", "EACCES|EROFS|ENOENT", _at("read_only", path))
        for path in ("/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger")
    ),
    _row("I12", "device behind a mask", "1:3", _at("mask_device")),
    *(_row("I13", path, expected, _mount(path)) for path, expected in MOUNTS.items()),
    _row("I13", "/sys/fs/cgroup", "|".join(f"{kind} ro nosuid nodev noexec" for kind in ("tmpfs", "cgroup2")),
         _mount("/sys/fs/cgroup")),
    _row("I13", "/dev size and mode", "size=65536k mode=755", _super("/dev", "size", "mode")),
    _row("I13", "/dev/pts modes", "mode=620 ptmxmode=666", _super("/dev/pts", "mode", "ptmxmode")),
    _row("I13", "/dev/shm size", "size=65536k", _super("/dev/shm", "size")),
    *(_row("I14", f"/dev/{name}", f"0666 {number}", _device(name)) for name, number in DEVICES.items()),
    *(_row("I14", f"/dev/{name} leads to", target, _at("dev_links", name)) for name, target in LINKS.items()),
    _row("I14", "all names in /dev",
         "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero",
         _at("dev_names")),
    *(
        _row("I15", f"mknod of {what}", "EPERM", _at("mknod", what))
        for what in ("null", "disk")
    ),
    _row("I16", "descriptors", "0 1 2", _at("fds")),
    _row("I17", "working directory", "/", _at("cwd")),
    _row("I18", "propagation of mounts", "none", _propagation),
    _row("I19", "/proc/self/cgroup", "/", lambda facts: "/" if facts["cgroup"] == ["/"] else "paths of the host"),
    _row("I19", "mkdir below /sys/fs/cgroup", "refused", _cgroups_of_host),
    _row("I20", "/proc/keys", "", _at("keys")),
    _row("I21", "oom_score_adj", "0", _at("oom_score_adj")),
    _row("I21", "lowering oom_score_adj", "EACCES", _at("oom_lower")),
    _row("I22", "RLIMIT_CORE", "0 0", _at("core")),
    _row("I22", "RLIMIT_NOFILE, soft", "1024", _at("nofile", 0)),
    _row("I22", "RLIMIT_MEMLOCK at most 8 MiB", "True", lambda facts: str(0 <= facts["memlock"][1] <= 2**23)),
    _row("I25", "net.ipv4.ping_group_range", "0 65535",
         _at("sysctls", "net/ipv4/ping_group_range")),
    _row("I25", "net.ipv4.ip_unprivileged_port_start", "0",
         _at("sysctls", "net/ipv4/ip_unprivileged_port_start")),
    _row("I26", "groups", "0", _at("groups")),
    _row("I27", "SigBlk", "0" * 16, _status("SigBlk")),
    _row("I27", "SigIgn but for Python's own two", "0" * 16, _ignored),
    _row("I28", "environment", "HOME HOSTNAME PATH", _environment),
    _row("I29", "umask", "0o22", _at("umask")),
    _row("I29", "pid 1 is the command", "/usr/bin/python3", _at("cmdline")),
    _row("I29", "PPid", "0", _status("PPid")),
    _row("I30", "leader of a session", "True", _at("session")),
    _row("I30", "controlling terminal", "ENXIO", _at("terminal")),
    _row("I30", "standard input", "/dev/null", lambda facts: str(facts["stdin"]).partition(":")[0]),
    _row("I32", "interfaces", "lo", _at("interfaces")),
    _row("I34", "umount of a mask", "EPERM", _at("umount_mask")),
]  # fmt: skip


USER_MODE = "User Mode Linux" in Path("/proc/cpuinfo").read_text()


def asked() -> list[Row]:
    """The rows that say something on this kernel: no user-mode kernel has the i386 ABI, its int 0x80 makes a call of
    x86-64."""
    return [row for row in ROWS if not (USER_MODE and row.name == "I6 a call of the i386 ABI")]


# The ways into a container, and where one of them makes a difference to the first.
STARTED = "started"
WAYS: dict[str, dict[str, tuple[str, ...]]] = {
    STARTED: {},
    "started in a terminal": IN_A_TERMINAL,
    "started with an init": {
        "I29 pid 1 is the command": ("tini",),
        "I29 PPid": ("1",),
        "I30 leader of a session": ("False",),  # which the init leads
    },
    "restarted": {},
    "restarted by its policy": {},
    "restarted by a new shim": {},
    "started after a reboot": {},
    "exec": ENTERED | {"I30 standard input": ("pipe",)},
    "exec in a terminal": ENTERED | IN_A_TERMINAL,
    "exec through a new shim": ENTERED | {"I30 standard input": ("pipe",)},
    "toolbox": ENTERED | {"I30 standard input": ("pipe",)},
    "toolbox in a terminal": ENTERED | IN_A_TERMINAL,
    "health check": ENTERED,
}

# Rows that a process inside cannot see; the tests named look from outside.
FROM_OUTSIDE = {
    "I3": "test_i3_another_user_has_none",
    "I23": "test_i23_i24_limits_are_always_set",
    "I24": "test_i23_i24_limits_are_always_set",
    "I33": "test_i33_the_store_is_closed_to_others",
    "I35": "test_i8_i35_ids_are_of_the_containers_own_range",
}
NOT_BUILT = {
    "I31": "this host has no AppArmor and no SELinux",
    "I32": "no network but loopback or the host's is built yet",
}
