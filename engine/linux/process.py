"""Processes, namespaces and what a process may do: clone3(2), setns(2), prctl(2), keyctl(2)."""

from __future__ import annotations

import ctypes
import functools
import os
import signal

from engine.linux import files
from engine.linux.syscall import LIBC, Syscall, failure, fd, flags, pointer, size, text, word

CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_NEWTIME = 0x80 if os.path.exists("/proc/self/ns/time") else 0  # a kernel may be built without
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36
CLOSE_RANGE_CLOEXEC = 4
KEYCTL_JOIN_SESSION_KEYRING = 1
SIGCHLD = 17

_clone3 = Syscall("clone3", pointer, size, hold_gil=True)  # the child must not have to take the GIL again
_unshare = Syscall("unshare", flags)
_setns = Syscall("setns", fd, flags)
_prctl = Syscall("prctl", flags, word, word, word, word)
_close_range = Syscall("close_range", ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)
_rt_sigaction = Syscall("rt_sigaction", ctypes.c_int, pointer, pointer, size)
_signalfd4 = Syscall("signalfd4", ctypes.c_int, pointer, size, flags)
_keyctl = Syscall("keyctl", flags, text)
_sethostname = LIBC["sethostname"]
_sethostname.argtypes = (text, size)
_setdomainname = LIBC["setdomainname"]
_setdomainname.argtypes = (text, size)


class _CloneArgs(ctypes.Structure):
    """struct clone_args of linux/sched.h, version 2 (88 bytes, Linux 5.7)."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            [
                "flags",
                "pidfd",
                "child_tid",
                "parent_tid",
                "exit_signal",
                "stack",
                "stack_size",
                "tls",
                "set_tid",
                "set_tid_size",
                "cgroup",
            ]
        )
    )


def clone3(flag: int, *, cgroup_fd: int | None = None) -> tuple[int, int]:
    """clone3(2) like fork(2): returns (pid, pidfd) in the parent and (0, -1) in the child.

    Only for a process with one thread: the child is not told to Python's own at-fork hooks. With CLONE_PARENT the child
    is a sibling, and signals its end as the caller does.
    """
    pidfd = ctypes.c_int(-1)
    exit_signal = 0 if flag & CLONE_PARENT else SIGCHLD
    arguments = _CloneArgs(flags=flag | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd), exit_signal=exit_signal)
    if cgroup_fd is not None:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup_fd
    pid = _clone3(ctypes.addressof(arguments), ctypes.sizeof(arguments))
    return pid, (pidfd.value if pid else -1)


def unshare(flag: int) -> None:
    """unshare(2)."""
    _unshare(flag)


def setns(descriptor: int, kinds: int) -> None:
    """setns(2) with the descriptor of a namespace or a pidfd."""
    _setns(descriptor, kinds)


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    """prctl(2)."""
    return _prctl(option, a, b, c, d)


def set_name(name: bytes) -> None:
    """The name of this process, of one thread, as ps(1) shows it in ``comm``, cut at 15 bytes; proc_pid_comm(5)."""
    descriptor = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    os.write(descriptor, name)
    os.close(descriptor)


def close_on_exec_from(first: int) -> None:
    """Mark every descriptor from ``first`` up close-on-exec; close_range(2)."""
    _close_range(first, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC)


def close_from(first: int) -> None:
    """Close every descriptor from ``first`` up; close_range(2)."""
    _close_range(first, 0xFFFFFFFF, 0)


def close_all_but(*kept: int) -> None:
    """Close every descriptor but standard input, output and error, and these; close_range(2)."""
    first = 3
    for descriptor in sorted(kept):
        if first < descriptor:
            _close_range(first, descriptor - 1, 0)
        first = max(first, descriptor + 1)
    close_from(first)


def sethostname(name: str) -> None:
    """sethostname(2)."""
    encoded = name.encode()
    if _sethostname(encoded, len(encoded)) != 0:
        raise failure(ctypes.get_errno(), "sethostname", name)


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    encoded = name.encode()
    if _setdomainname(encoded, len(encoded)) != 0:
        raise failure(ctypes.get_errno(), "setdomainname", name)


@functools.cache
def ignored_signals() -> tuple[int, ...]:
    """Those that were ignored when this was first asked, by a process or its ancestor; proc_pid_status(5) SigIgn."""
    status = files.content("/proc/self/status")
    mask = int(status[status.index(b"SigIgn:") :].split()[1], 16)
    return tuple(number for number in range(1, 65) if mask >> (number - 1) & 1)


def reset_signals() -> None:
    """Every signal that execve would keep ignored to its default, those too that libc keeps for itself; sigaction(2).

    CPython ignores SIGPIPE and SIGXFSZ, the launcher more, and whoever started us may have; `ignored_signals` must have
    been asked since. What is handled gets its default by execve.
    """
    default = ctypes.create_string_buffer(32)  # struct kernel_sigaction, all zero: SIG_DFL, no flags, empty mask
    for number in ignored_signals():
        _rt_sigaction(number, ctypes.addressof(default), None, 8)


def signal_descriptor(numbers: set[int]) -> int:
    """Block these signals and return a descriptor that is readable when one is pending; signalfd(2).

    A read gives 128 bytes for each, the first of which is its number. Children inherit the block.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    mask = ctypes.c_uint64(sum(1 << (number - 1) for number in numbers))
    return _signalfd4(-1, ctypes.addressof(mask), 8, os.O_CLOEXEC | os.O_NONBLOCK)


def join_session_keyring(name: str) -> None:
    """Leave the inherited session keyring for a new one, so that no key of the host is in reach; keyctl(2)."""
    _keyctl(KEYCTL_JOIN_SESSION_KEYRING, name.encode())


def children() -> list[int]:
    """The pids of this process's children, of one thread, zombies included; proc_pid_task(5)."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def host_memory_bytes() -> int:
    """What this host has; sysconf(3)."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def parent(pid: int) -> int:
    """The parent of a process; ProcessLookupError when there is none. proc_pid_stat(5) field 4."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except FileNotFoundError:
        raise ProcessLookupError(3, "no such process", str(pid)) from None


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot, or None when there is none; proc_pid_stat(5) field 22.

    A pid is trusted only together with this and the boot id: the number alone is used again.
    """
    try:
        fields = files.content(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def signal_pending(pid: int, number: int) -> bool:
    """Whether a process was sent a signal that it has not acted on; proc_pid_status(5) SigPnd, ShdPnd."""
    try:
        with open(f"/proc/{pid}/status") as file:
            lines = dict(line.partition(":")[::2] for line in file)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(int(lines[kind], 16) >> (number - 1) & 1 for kind in ("SigPnd", "ShdPnd"))


def boot_id() -> str:
    """The random id of this boot; random(4)."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def write_id_maps(pid: int, base: int, count: int = 65536) -> None:
    """Map ids 0..count of a new user namespace to ``base``.. on the host; user_namespaces(7)."""
    for name in ("uid_map", "gid_map"):
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"0 {base} {count}\n".encode())
        finally:
            os.close(descriptor)


def protect_from_oom(score: int, pid: int | str = "self") -> bool:
    """Lower a process's oom_score_adj; False where CAP_SYS_RESOURCE is missing, and it stays as it is. proc(5)."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(score))
    except PermissionError:
        return False
    return True
