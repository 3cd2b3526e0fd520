"""The default seccomp filter, compiled to classic BPF by hand, and how it is loaded; seccomp(2).

Compiled here and not by libseccomp: Debian 12's (2.5.4) knows no call above 450, and a filter is small
enough to read. What it decides, in order:

1. any other ABI than x86-64 (32-bit int 0x80, x32): kill. Their socketcall(2) cannot be filtered by family.
2. clone3: ENOSYS, so that libc falls back to clone, whose flags can be seen.
3. clone, socket, personality: by argument.
4. refused calls: EPERM. Unknown (newer) calls: ENOSYS, which libc handles by falling back.
5. everything else is allowed.

Names and values are those of Docker's default profile (facts), the default action is podman's.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from engine.linux.numbers import X86_64
from engine.linux.syscall import Syscall, flags, pointer

# Refused though known: each reaches the host past the namespaces, or opens kernel surface that containers can spare.
REFUSED = frozenset(
    [
        "_sysctl",
        "acct",
        "add_key",
        "afs_syscall",
        "bpf",
        "clock_settime",
        "create_module",
        "delete_module",
        "fanotify_init",
        "finit_module",
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "get_kernel_syms",
        "get_mempolicy",
        "getpmsg",
        "init_module",
        "io_uring_enter",
        "io_uring_register",
        "io_uring_setup",
        "ioperm",
        "iopl",
        "kcmp",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "lookup_dcookie",
        "lsm_get_self_attr",
        "lsm_list_modules",
        "lsm_set_self_attr",
        "mbind",
        "migrate_pages",
        "mount",
        "mount_setattr",
        "move_mount",
        "move_pages",
        "nfsservctl",
        "open_by_handle_at",
        "open_tree",
        "open_tree_attr",
        "perf_event_open",
        "pidfd_getfd",
        "pivot_root",
        "process_madvise",
        "putpmsg",
        "query_module",
        "quotactl",
        "quotactl_fd",
        "reboot",
        "request_key",
        "security",
        "set_mempolicy",
        "set_mempolicy_home_node",
        "setdomainname",
        "sethostname",
        "setns",
        "settimeofday",
        "swapoff",
        "swapon",
        "sysfs",
        "syslog",
        "tuxcall",
        "umount2",
        "unshare",
        "uselib",
        "userfaultfd",
        "ustat",
        "vhangup",
        "vserver",
        "uprobe",
        "uretprobe",
    ]
)

CLONE_NAMESPACE_FLAGS = 0x7E020000  # NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET
REFUSED_FAMILIES = (38, 40)  # AF_ALG (CVE-2026-31431), AF_VSOCK (reaches the hypervisor past every namespace)
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

_LD_ABS, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0 = 0, 4, 16  # offsets in struct seccomp_data
_AUDIT_ARCH_X86_64 = 0xC000003E
_X32_BIT = 0x40000000
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM = _ERRNO | errno.EPERM
_ENOSYS = _ERRNO | errno.ENOSYS

SECCOMP_SET_MODE_FILTER = 1
_seccomp = Syscall("seccomp", flags, flags, pointer)


def _action(name: str) -> int:
    if name == "clone3":
        return _ENOSYS
    return _EPERM if name in REFUSED else _ALLOW


def _ranges() -> list[tuple[int, int]]:
    """(first number, action) of each run of calls with one action, ascending, covering all numbers."""
    found: list[tuple[int, int]] = []
    by_number = {number: _action(name) for name, number in X86_64.items()}
    for number in range(max(by_number) + 2):
        action = by_number.get(number, _ENOSYS)
        if not found or found[-1][1] != action:
            found.append((number, action))
    return found


def compile_default() -> bytes:
    """The filter as an array of struct sock_filter (linux/filter.h)."""
    program: list[tuple[int, int, int, int]] = [
        (_LD_ABS, 0, 0, _ARCH),
        (_JEQ, 1, 0, _AUDIT_ARCH_X86_64),
        (_RET, 0, 0, _KILL),
        (_LD_ABS, 0, 0, _NR),
        (_JGE, 0, 1, _X32_BIT),
        (_RET, 0, 0, _KILL),
    ]

    def by_argument(name: str, tests: list[tuple[int, int, int]], otherwise: int) -> None:
        """If the call is ``name``: each (operation, value, action) on the low half of argument 0, or ``otherwise``."""
        body = [(_LD_ABS, 0, 0, _ARG0)]
        for operation, value, action in tests:
            body += [(operation, 0, 1, value), (_RET, 0, 0, action)]
        body.append((_RET, 0, 0, otherwise))
        program.append((_JEQ, 0, len(body), X86_64[name]))
        program.extend(body)

    by_argument("clone", [(_JSET, CLONE_NAMESPACE_FLAGS, _EPERM)], _ALLOW)
    by_argument("socket", [(_JEQ, family, _EPERM) for family in REFUSED_FAMILIES], _ALLOW)
    by_argument("personality", [(_JEQ, value, _ALLOW) for value in PERSONALITIES], _EPERM)

    def search(ranges: list[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
        """A binary tree: about seven comparisons for any call, where a list would need up to a hundred."""
        if len(ranges) == 1:
            return [(_RET, 0, 0, ranges[0][1])]
        middle = len(ranges) // 2
        low, high = search(ranges[:middle]), search(ranges[middle:])
        return [(_JGE, len(low), 0, ranges[middle][0]), *low, *high]

    program += search(_ranges())
    return b"".join(struct.pack("HBBI", code, true, false, value) for code, true, false, value in program)


def load(program: bytes) -> None:
    """Put this thread under a filter, for ever; needs no_new_privs or CAP_SYS_ADMIN."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
    _seccomp(SECCOMP_SET_MODE_FILTER, 0, ctypes.addressof(header))
