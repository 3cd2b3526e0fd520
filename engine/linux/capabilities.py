"""Capabilities by name, and a process's sets of them; capabilities(7), capset(2)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable

from engine.linux.process import prctl
from engine.linux.syscall import Syscall, pointer

PR_CAPBSET_DROP = 24
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

# capabilities(7); a capability's number is its position.
ALL = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]

# What a container has unless told otherwise; podman's eleven.
DEFAULT = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
    "SYS_CHROOT",
)  # fmt: skip

_capset = Syscall("capset", pointer, pointer)


def mask(names: Iterable[str]) -> int:
    """The bits of capabilities given by name without ``CAP_``."""
    return sum(1 << ALL.index(name) for name in names)


@functools.cache
def last() -> int:
    """The highest number of a capability that this kernel knows; capabilities(7)."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return int(file.read())


def drop_bounding_set(keep: int) -> None:
    """Drop every capability outside ``keep`` from the bounding set, for ever; capabilities(7)."""
    for number in range(last() + 1):
        if not keep >> number & 1:
            prctl(PR_CAPBSET_DROP, number)


def capset(permitted: int, inheritable: int = 0) -> None:
    """Set permitted and effective alike, and the inheritable set; clear the ambient set. capset(2), version 3."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    data = (ctypes.c_uint32 * 6)(low, low, inheritable & 0xFFFFFFFF, high, high, inheritable >> 32)
    _capset(ctypes.addressof(header), ctypes.addressof(data))
