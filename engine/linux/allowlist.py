"""A seccomp filter for a helper process that needs a handful of system calls and must never do more; seccomp(2).

The default filter of containers (`engine.linux.seccomp`) refuses some calls and allows the rest; this one is
the other way round, for Wharfie's own workers, whose calls are known.
"""

from __future__ import annotations

import struct

from engine.linux.numbers import X86_64

_LD_ABS, _JEQ, _RET = 0x20, 0x15, 0x06
_NR, _ARCH = 0, 4  # offsets in struct seccomp_data
_AUDIT_ARCH_X86_64 = 0xC000003E
_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000

# What the Python interpreter itself calls while it computes, allocates, and ends.
INTERPRETER = frozenset(
    [
        "brk",
        "clock_gettime",
        "close",
        "exit",
        "exit_group",
        "futex",
        "getpid",
        "getrandom",
        "gettid",
        "lseek",
        "madvise",
        "mmap",
        "mprotect",
        "mremap",
        "munmap",
        "newfstatat",
        "fstat",
        "read",
        "restart_syscall",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "sched_yield",
        "sigaltstack",
        "write",
    ]
)


def compile_allowlist(names: frozenset[str]) -> bytes:
    """A filter that kills the process at any other call, or at a call by another ABI (x32 has other numbers)."""
    program = [(_LD_ABS, 0, 0, _ARCH), (_JEQ, 1, 0, _AUDIT_ARCH_X86_64), (_RET, 0, 0, _KILL_PROCESS)]
    program.append((_LD_ABS, 0, 0, _NR))
    for number in sorted(X86_64[name] for name in names):
        program += [(_JEQ, 0, 1, number), (_RET, 0, 0, _ALLOW)]
    program.append((_RET, 0, 0, _KILL_PROCESS))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)
