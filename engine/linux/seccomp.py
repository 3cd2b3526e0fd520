"""Seccomp filters, compiled to classic BPF by hand, and how they are loaded; seccomp(2).

Compiled here and not by libseccomp: Debian 12's (2.5.4) knows no call above 450, and a filter is small
enough to read. What the default one decides, in order:

1. any other ABI than x86-64 (32-bit int 0x80, x32): kill. Their socketcall(2) cannot be filtered by family.
2. clone3: ENOSYS, so that libc falls back to clone, whose flags can be seen.
3. clone, socket, personality: by argument.
4. refused calls: EPERM. Unknown (newer) calls: ENOSYS, which libc handles by falling back.
5. everything else is allowed.

Names and values are those of Docker's default profile (facts), the default action is podman's. Some refused calls open
with a capability: only those that the kernel then grants inside the container's own user namespace.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

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

# What a capability opens. Not bpf, perf_event_open, the modules, the clock and their like: for those the kernel asks
# for the capability in the host's user namespace, so here they would be nothing but surface.
OPENED_BY = {
    "DAC_READ_SEARCH": {"open_by_handle_at"},
    "SYS_ADMIN": {
        "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree",
        "open_tree_attr", "pivot_root", "setdomainname", "sethostname", "setns", "umount2", "unshare",
    },
    "SYS_BOOT": {"reboot"},
    "SYS_NICE": {
        "get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy", "set_mempolicy_home_node",
    },
    "SYS_PACCT": {"acct"},
    "SYS_PTRACE": {"kcmp", "pidfd_getfd", "process_madvise"},
}  # fmt: skip

CLONE_NAMESPACE_FLAGS = 0x7E020000  # NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET
CLONE_NEWUSER = 0x10000000
# AF_KEY and AF_RXRPC (CVE-2026-43284, 43500), AF_ALG (CVE-2026-31431): surface that containers can spare. AF_VSOCK
# reaches the hypervisor past every namespace.
REFUSED_FAMILIES = (15, 33, 38, 40)
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
MAX_INSTRUCTIONS = 4096  # linux/bpf_common.h BPF_MAXINSNS

_LD_ABS, _JA, _JEQ, _JGT, _JGE, _AND, _RET = 0x20, 0x05, 0x15, 0x25, 0x35, 0x54, 0x06
_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data
_AUDIT_ARCH_X86_64 = 0xC000003E
_X32_BIT = 0x40000000
_JUMP = 255  # the farthest that a conditional jump reaches

ALLOW, LOG, ERRNO, TRAP = 0x7FFF0000, 0x7FFC0000, 0x00050000, 0x00030000  # SECCOMP_RET_*
KILL_PROCESS, KILL_THREAD = 0x80000000, 0x0
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS

SECCOMP_SET_MODE_FILTER = 1
_seccomp = Syscall("seccomp", flags, flags, pointer)

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value


class Condition(NamedTuple):
    """A comparison of one argument. ``MASKED_EQ``: the argument, and ``value`` as its mask, gives ``masked``."""

    argument: int  # 0 to 5
    operation: str  # EQ NE LT LE GT GE MASKED_EQ
    value: int  # of 64 bits
    masked: int = 0


class Rule(NamedTuple):
    """What is done with a call of which all conditions hold."""

    action: int
    conditions: tuple[Condition, ...] = ()


def compile_default(capabilities: Iterable[str] = ()) -> bytes:
    """The default filter of a container with these capabilities beyond the default ones."""
    opened = frozenset[str]().union(*(OPENED_BY.get(name, ()) for name in capabilities))
    rules = {
        number: [Rule(EPERM if name in REFUSED and name not in opened else ALLOW)] for name, number in X86_64.items()
    }
    # A new user namespace never: what the kernel guards by capabilities is not for those that one makes oneself.
    refused = CLONE_NEWUSER if "SYS_ADMIN" in capabilities else CLONE_NAMESPACE_FLAGS
    rules[X86_64["clone3"]] = [Rule(ENOSYS)]
    rules[X86_64["clone"]] = [Rule(ALLOW, (Condition(0, "MASKED_EQ", refused, 0),)), Rule(EPERM)]
    families = [Rule(EPERM, (Condition(0, "EQ", family),)) for family in REFUSED_FAMILIES]
    rules[X86_64["socket"]] = [*families, Rule(ALLOW)]
    known = [Rule(ALLOW, (Condition(0, "EQ", value),)) for value in PERSONALITIES]
    rules[X86_64["personality"]] = [*known, Rule(EPERM)]
    return compile_rules(rules, ENOSYS)


def compile_rules(rules: Mapping[int, Sequence[Rule]], default: int) -> bytes:
    """A filter as an array of struct sock_filter (linux/filter.h): of a call's rules the first that holds decides.

    Whatever the rules, any other ABI than x86-64 kills. ValueError for more than the kernel takes.
    """
    program: list[Instruction] = [
        (_LD_ABS, 0, 0, _ARCH),
        (_JEQ, 1, 0, _AUDIT_ARCH_X86_64),
        (_RET, 0, 0, KILL_PROCESS),
        (_LD_ABS, 0, 0, _NR),
        (_JGE, 0, 1, _X32_BIT),
        (_RET, 0, 0, KILL_PROCESS),
    ]
    actions: dict[int, int] = {}
    for number, chain in sorted(rules.items()):
        if chain and not chain[0].conditions:
            actions[number] = chain[0].action
            continue
        body = [instruction for rule in chain for instruction in _rule(rule)]
        body.append((_RET, 0, 0, default))
        if len(body) <= _JUMP:
            program.append((_JEQ, 0, len(body), number))
        else:
            program += [(_JEQ, 1, 0, number), (_JA, 0, 0, len(body))]
        program += body
    program += _search(_ranges(actions, default))
    if len(program) > MAX_INSTRUCTIONS:
        raise ValueError(f"the filter has {len(program)} instructions, and the kernel takes {MAX_INSTRUCTIONS}")
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def _ranges(actions: Mapping[int, int], default: int) -> list[tuple[int, int]]:
    """(first number, action) of each run of calls with one action, ascending, covering all numbers."""
    found: list[tuple[int, int]] = []
    for number in range(max(actions, default=0) + 2):
        action = actions.get(number, default)
        if not found or found[-1][1] != action:
            found.append((number, action))
    return found


def _search(ranges: list[tuple[int, int]]) -> list[Instruction]:
    """A binary tree: about seven comparisons for any call, where a list would need up to a hundred."""
    if len(ranges) == 1:
        return [(_RET, 0, 0, ranges[0][1])]
    middle = len(ranges) // 2
    low, high = _search(ranges[:middle]), _search(ranges[middle:])
    if len(low) <= _JUMP:
        return [(_JGE, len(low), 0, ranges[middle][0]), *low, *high]
    return [(_JGE, 0, 1, ranges[middle][0]), (_JA, 0, 0, len(low)), *low, *high]


def _rule(rule: Rule) -> list[Instruction]:
    """Returns its action when all conditions hold; else it goes on behind."""
    body: list[Instruction] = [(_RET, 0, 0, rule.action)]
    for condition in reversed(rule.conditions):
        body = _condition(condition, allows=rule.action in (ALLOW, LOG), fail=len(body)) + body
    return body


def _condition(wanted: Condition, *, allows: bool, fail: int) -> list[Instruction]:
    """Goes on when it holds, else jumps over the ``fail`` instructions that follow.

    Many arguments are an int to the kernel, which then looks at their low half alone, while whoever calls may put what
    they like into the high one. A filter cannot know which those are: so where halves and whole disagree about a value
    of 32 bits, a rule that allows does not hold, and one that refuses does.
    """
    operation = wanted.operation
    narrow = operation in ("EQ", "LT", "LE", "MASKED_EQ")  # these hold for fewer wholes than halves
    half = max(wanted.value, wanted.masked) < 2**32 and narrow is not allows
    mask = wanted.value if operation == "MASKED_EQ" else None
    value = wanted.masked if operation == "MASKED_EQ" else wanted.value
    high, low = value >> 32, value & 0xFFFFFFFF
    load_low = [(_LD_ABS, 0, 0, _ARGS + 8 * wanted.argument)]
    load_high = [(_LD_ABS, 0, 0, _ARGS + 8 * wanted.argument + 4)]
    if mask is not None:
        load_low.append((_AND, 0, 0, mask & 0xFFFFFFFF))
        load_high.append((_AND, 0, 0, mask >> 32))
    # The last comparison, of the low halves: (code, whether it must be true).
    code, must = {
        "EQ": (_JEQ, True), "MASKED_EQ": (_JEQ, True), "NE": (_JEQ, False),
        "GT": (_JGT, True), "LE": (_JGT, False), "GE": (_JGE, True), "LT": (_JGE, False),
    }[operation]  # fmt: skip
    last = [*load_low, (code, 0, fail, low) if must else (code, fail, 0, low)]
    if half:
        return last
    behind, over = len(last), len(last) + fail  # where it holds, and where it does not, seen from before `last`
    if code == _JEQ:
        return [*load_high, (_JEQ, 0, over if must else behind, high), *last]
    greater = behind + 1 if must else over + 1  # a greater high half settles it, as does a smaller one
    smaller = over if must else behind
    return [*load_high, (_JGT, greater, 0, high), (_JEQ, 0, smaller, high), *last]


def load(program: bytes) -> None:
    """Put this thread under a filter, for ever; needs no_new_privs or CAP_SYS_ADMIN."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
    _seccomp(SECCOMP_SET_MODE_FILTER, 0, ctypes.addressof(header))
