"""Where a tar stream is unpacked: a process with no namespace, file system or privilege in common with the host.

    keeper (host root)                          worker (root of a new user namespace)
      clone3: 7 namespaces            ───────>    waits
      id maps; an idmapped, detached
      mount of the target directory   ──tree──>   ids; moves the mount over /proc; pivot_root into it
                                                  closes all else, rlimits, capabilities, no_new_privs, seccomp
                                      <──done──   work(stream), then one JSON document, then end of file

The worker owns nothing of the host: its root is host uid BASE. The idmapped mount (mount_setattr(2),
"ID-mapped mounts") turns its ids 0..65535 into the same ids on disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from engine.errors import EngineError, InvalidRequest, KernelError, Unavailable, from_wire
from engine.linux import landlock, mount, process
from engine.linux.allowlist import INTERPRETER, compile_allowlist
from engine.linux.seccomp import load

NAMESPACES = (
    process.CLONE_NEWUSER
    | process.CLONE_NEWNS
    | process.CLONE_NEWPID
    | process.CLONE_NEWNET
    | process.CLONE_NEWIPC
    | process.CLONE_NEWUTS
    | process.CLONE_NEWCGROUP
)
# What unpacking does to files: all but executing them, device nodes of disks and talking to devices.
RIGHTS = ((1 << 16) - 1) & ~(landlock.EXECUTE | landlock.MAKE_BLOCK | landlock.MAKE_SOCK | landlock.IOCTL_DEV)
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "MKNOD")
_FILE_CALLS = """
    chdir fchmod fchmodat fchown fchownat fcntl fsetxattr getdents64 ioctl linkat mkdirat mknod mknodat dup openat
    openat2 symlinkat unlinkat utimensat
"""
SYSTEM_CALLS = INTERPRETER | frozenset(_FILE_CALLS.split())
MEMORY_BYTES = 1 << 30  # of address space; the interpreter takes about 50 MB of it
DESCRIPTORS = 1024  # removing a directory holds one for each level
ANSWER_BYTES = 64 << 20

STREAM, CHANNEL = 3, 4  # the worker's only descriptors besides 0, 1 and 2, which are /dev/null

Work = Callable[[int], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a worker may use."""

    uid_base: int
    max_bytes: int  # of one file
    deadline_s: float


def run(work: Work, stream: int, target: int, bounds: Bounds) -> dict[str, Any]:
    """Run ``work(stream)`` with ``target`` as root directory; its answer, or its EngineError.

    For a process with one thread that is host root and in the mount namespace of ``target``. On return and on
    raise the worker is gone and reaped, and its mounts went with it.
    """
    deadline = time.monotonic() + bounds.deadline_s
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            pid, pidfd = process.clone3(NAMESPACES)
            if pid == 0:
                _worker(work, stream, theirs, bounds)
        try:
            _send_tree(ours, pid, target, bounds.uid_base)
            answer = _receive(ours, deadline)
        finally:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)  # harmless to one that has ended
            os.close(pidfd)
            _, status = os.waitpid(pid, 0)
    if not answer:
        raise KernelError(f"the unpacking process ended early ({_ending(status)})", hint="see the kernel's log")
    document: dict[str, Any] = json.loads(answer)
    if "error" in document:
        raise from_wire(document["error"])
    return document


def _send_tree(channel: socket.socket, pid: int, target: int, uid_base: int) -> None:
    process.write_id_maps(pid, uid_base)
    namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        attributes = mount.NOSUID | mount.NODEV | mount.NOEXEC
        tree = mount.tree("", dirfd=target, add=attributes, userns_fd=namespace)
    finally:
        os.close(namespace)
    try:
        socket.send_fds(channel, [b"t"], [tree])
    finally:
        os.close(tree)


def _receive(channel: socket.socket, deadline: float) -> bytes:
    answer = bytearray()
    while True:
        channel.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data = channel.recv(65536)
        except TimeoutError:
            raise Unavailable(
                "unpacking took too long and was ended", hint="try again, or use a smaller image"
            ) from None
        if not data:
            return bytes(answer)
        answer += data
        if len(answer) > ANSWER_BYTES:
            raise InvalidRequest(
                "the archive has too many opaque directories", hint="flatten the image into fewer layers"
            )


def _ending(status: int) -> str:
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"


def _worker(work: Work, stream: int, channel: socket.socket, bounds: Bounds) -> NoReturn:
    """The child's whole life: it must never return into the keeper's code."""
    code = 1
    try:
        answer: dict[str, Any]
        _keep_only(stream, channel.fileno())  # first: from here on errors have a way out
        try:
            _enter(bounds)
            answer = work(STREAM)
        except EngineError as error:
            answer = {"error": error.to_wire()}
        except OSError as error:
            answer = {"error": KernelError.from_os(error, "unpacking").to_wire()}
        except (MemoryError, RecursionError):
            answer = {
                "error": InvalidRequest(
                    "the archive needs too much memory to unpack", hint="split it into several layers"
                ).to_wire()
            }
        view = memoryview(json.dumps(answer).encode())
        while view:
            view = view[os.write(CHANNEL, view) :]
        code = 0
    finally:
        os._exit(code)


def _enter(bounds: Bounds) -> None:
    channel = socket.socket(fileno=os.dup(CHANNEL))
    message, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    channel.close()
    if not message:
        raise Unavailable("the keeper of the unpacking process is gone")
    (tree,) = descriptors
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    mount.mount_setattr(mount.AT_FDCWD, "/", mount.AT_RECURSIVE, propagation=mount.MS_PRIVATE)
    process.drop_bounding_set(process.capability_mask(CAPABILITIES))
    place = os.open("/proc", os.O_PATH | os.O_CLOEXEC)  # any directory that is always there
    mount.attach(tree, place)
    os.close(place)
    os.close(tree)
    mount.enter_root("/proc")
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, bounds.max_bytes),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
    ):
        resource.setrlimit(kind, (limit, limit))
    os.umask(0)
    process.capset(process.capability_mask(CAPABILITIES))
    process.prctl(process.PR_SET_DUMPABLE, 0)
    process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the last change of ids, which clears it
    process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict("/", RIGHTS)  # a second fence, where the kernel has it
    load(compile_allowlist(SYSTEM_CALLS))


def _keep_only(stream: int, channel: int) -> None:
    """Put the two descriptors at STREAM and CHANNEL, /dev/null at 0 to 2, and close all others."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    wanted = (null, null, null, stream, channel)
    # Copies above all targets first, so that no dup2 overwrites a source that is still needed.
    copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(wanted)) for descriptor in wanted]
    for target, source in enumerate(copies):
        os.dup2(source, target)
    process.close_from(len(wanted))
