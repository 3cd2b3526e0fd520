"""Whether what is asked of isolation can work at all, whoever asks. `engine.policy` says who may ask."""

from __future__ import annotations

import os
import re
from typing import NoReturn

from engine.errors import InvalidRequest
from engine.linux import devices, process
from engine.linux.capabilities import ALL
from engine.security.confinement import DEFAULT, ULIMITS, capabilities, every_capability, plain
from engine.security.profile import compile_profile
from engine.security.spec import CONTAINER, HOST, UNCONFINED, Device, Namespaces, Security

# Kernel settings that a namespace of the container's own has; isolation.md I25.
IPC_SYSCTLS = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shm_rmid_forced", "shmall", "shmmax", "shmmni")
)
MQUEUE_SYSCTL = re.compile(r"fs\.mqueue\.[a-z_]{1,32}")
NETWORK_SYSCTL = re.compile(r"net(\.[a-zA-Z0-9_-]{1,32}){2,6}")
# Numbers and words; no sign that any tool takes for the beginning of another setting (CVE-2022-0811).
SYSCTL_VALUE = re.compile(r"[A-Za-z0-9_.:,/ \t-]{1,256}")
# With the host's user namespace a capability is one over the host. These reach no further than the other namespaces
# and the host's own bounds; those of the network no further than a network namespace of its own.
WITHOUT_USER_NAMESPACE = DEFAULT | {"IPC_LOCK", "LEASE", "MKNOD", "SYS_NICE"}
OF_ITS_NETWORK = frozenset({"NET_ADMIN", "NET_BROADCAST", "NET_RAW"})
OWN_DEVICES = (
    "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
    "tty", "urandom", "zero",
)  # fmt: skip
MAX_OOM_SCORE_ADJ = 1000  # proc_pid_oom_score_adj(5)
MAX_ID = 65_535
MAX_DEVICES = 32


def _refuse(message: str, hint: str, field: str) -> NoReturn:
    raise InvalidRequest(message, hint=hint, field=field)


def check(security: Security, namespaces: Namespaces, *, own_network: bool) -> None:
    """InvalidRequest, naming the field, unless this can be carried out."""
    _namespaces(namespaces)
    for field, names in (("cap_add", security.cap_add), ("cap_drop", security.cap_drop)):
        for name in plain(names):
            if name != "ALL" and (name not in ALL or name not in every_capability()):
                _refuse(f"there is no capability {name!r}", "write it like NET_ADMIN; see capabilities(7)", field)
    if namespaces.user == HOST:
        _of_the_host(security, namespaces, own_network=own_network)
    if security.seccomp not in ("", UNCONFINED):
        compile_profile(security.seccomp, capabilities(security))
    _devices(security.devices)
    for name, value in security.sysctls.items():
        _sysctl(name, value, own_network=own_network, own_ipc=not namespaces.ipc)
    for limit in security.ulimits:
        if limit.name not in ULIMITS:
            _refuse(f"there is no limit {limit.name!r}", f"use one of {', '.join(sorted(ULIMITS))}", "ulimits")
        if any(not -1 <= value < 2**63 for value in (limit.soft, limit.hard)) or (
            limit.hard != -1 and not 0 <= limit.soft <= limit.hard
        ):
            _refuse(f"the soft limit of {limit.name} is above the hard one", "write NAME=SOFT:HARD", "ulimits")
    most = process.host_memory_bytes()
    if not os.sysconf("SC_PAGE_SIZE") <= security.shm_bytes <= most:
        _refuse(f"/dev/shm cannot have {security.shm_bytes} bytes", f"use 4k to {most // 2**20}m", "shm_bytes")
    if not 0 <= security.oom_score_adj <= MAX_OOM_SCORE_ADJ:
        _refuse(
            f"{security.oom_score_adj} is no score for running out of memory",
            "use 0 to 1000; below 0 the host's own programs would be killed first",
            "oom_score_adj",
        )
    for group in security.group_add:
        number = int(group) if group.isascii() and group.isdigit() and len(group) <= 256 else 0
        if not group or len(group) > 256 or set(group) & set("\0\n:,") or number > MAX_ID:
            _refuse(f"{group!r:.60} is not a group", f"use a name, or a number up to {MAX_ID}", "group_add")


def _namespaces(wanted: Namespaces) -> None:
    for kind, allowed in (
        ("pid", (HOST, CONTAINER)),
        ("ipc", (HOST, CONTAINER)),
        ("uts", (HOST,)),
        ("user", (HOST,)),
        ("network", (CONTAINER,)),
    ):
        value = getattr(wanted, kind)
        other = CONTAINER in allowed and wanted.container(kind)
        if value and not other and not (value == HOST and HOST in allowed):
            words = ", ".join(word + "NAME" * (word == CONTAINER) for word in allowed)
            field = {"user": "userns"}.get(kind, kind)
            _refuse(f"{value!r:.80} is not a namespace to share", f"use {words}, or leave it out", field)
    if wanted.uid_base is not None:
        _refuse("the ids of a container cannot be chosen", "leave them out", "userns")


def _of_the_host(security: Security, namespaces: Namespaces, *, own_network: bool) -> None:
    """Root inside is uid 0 of the host: what else keeps it from the host must stay."""
    if namespaces.pid == HOST:
        _refuse("root of the host would reach its processes", "leave --pid or --userns out", "pid")
    if security.seccomp == UNCONFINED:
        _refuse("root of the host would be without a filter", "leave --userns out, or give a profile", "seccomp")
    over = capabilities(security) - WITHOUT_USER_NAMESPACE - (OF_ITS_NETWORK if own_network else set())
    if over:
        _refuse(
            f"capability {min(over)} would be one over the host",
            "leave --userns out: inside a user namespace of its own, a container may have every capability",
            "privileged" if security.privileged else "cap_add",
        )


def _devices(wanted: tuple[Device, ...]) -> None:
    if len(wanted) > MAX_DEVICES:
        _refuse(f"{len(wanted)} devices are too many", f"use at most {MAX_DEVICES}", "devices")
    taken: set[str] = set()
    for device in wanted:
        for path in (device.source, device.target):
            parts = path.split("/")
            if parts[:2] != ["", "dev"] or len(parts) < 3 or {"", ".", ".."} & set(parts[2:]) or "\0" in path:
                _refuse(f"{path!r:.80} is not a device below /dev", "write it like /dev/fuse", "devices")
            if len(path) > 255:
                _refuse("the path of a device is too long", "use at most 255 characters", "devices")
        if not device.access or set(device.access) - set("rwm"):
            _refuse(f"{device.access!r:.20} is no access to a device", "use r, w and m", "devices")
        name = device.target.split("/")[2]
        above = [device.target[:at] for at, letter in enumerate(device.target) if letter == "/"]
        if name in OWN_DEVICES or device.target in taken or taken & set(above):
            _refuse(f"{device.target} is taken in the container", "choose another name there", "devices")
        if any(other.startswith(device.target + "/") for other in taken):
            _refuse(f"{device.target} is a directory in the container", "choose another name there", "devices")
        taken.add(device.target)
        try:
            devices.node(device.source)
        except OSError as error:
            _refuse(
                f"device {device.source}: {os.strerror(error.errno or 0)}",
                "name a device of the host that no file system of the host uses",
                "devices",
            )


def _sysctl(name: str, value: str, *, own_network: bool, own_ipc: bool) -> None:
    of_ipc = name in IPC_SYSCTLS or MQUEUE_SYSCTL.fullmatch(name)
    if not of_ipc and not NETWORK_SYSCTL.fullmatch(name):
        _refuse(
            f"{name!r:.80} is not a setting of one container",
            "only net.*, fs.mqueue.* and those of System V IPC are: kernel.shmmax, kernel.sem and their like",
            "sysctls",
        )
    if not SYSCTL_VALUE.fullmatch(value):
        _refuse(f"{value!r:.80} is not a value of {name}", "use numbers or words", "sysctls")
    if not (own_ipc if of_ipc else own_network):
        _refuse(
            f"{name} is not the container's own: it shares that namespace",
            "leave it out, or let the container have its own",
            "sysctls",
        )
