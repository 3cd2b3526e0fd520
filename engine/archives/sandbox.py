"""Where files are read and made that nobody trusts: a process with no namespace or privilege in common with the host.

    keeper (host root)                          worker (root of a new user namespace)
      clone3: 7 namespaces            ───────>    waits
      id maps; detached mounts of
      all that it may see             ──trees──>  ids; moves the first over /proc; pivot_root into it; the others
                                                  closes all else, rlimits, capabilities, no_new_privs, seccomp
                                      <──done──   work(stream), then one JSON document, then end of file

The worker owns nothing of the host: its root is host uid BASE. What it may see is the keeper's choice: a directory
idmapped so that ids 0..65535 are the same ids on disk (mount_setattr(2), "ID-mapped mounts"), or a container's root,
whose ids are BASE and up on disk too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from typing import Any, NoReturn

from engine.errors import EngineError, InvalidRequest, KernelError, Unavailable, WrongState, from_wire
from engine.linux import capabilities, landlock, mount, places, process
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
    chdir fchmod fchmodat fchown fchownat fcntl fgetxattr flistxattr fsetxattr ftruncate getdents64 ioctl linkat mkdirat
    mknod mknodat dup fstatfs openat openat2 readlinkat renameat renameat2
    symlinkat fsync unlinkat utimensat
"""
SYSTEM_CALLS = INTERPRETER | frozenset(_FILE_CALLS.split())
MEMORY_BYTES = 1 << 30  # of address space; the interpreter takes about 50 MB of it
DESCRIPTORS = 1024  # reading a directory holds one for each level
ANSWER_BYTES = 64 << 20
TREES = 64  # what one message of descriptors has room for, well below SCM_MAX_FD; unix(7)
LAST_WORDS_S = 1.0  # for a worker whose stream was taken away to clean up

STREAM, CHANNEL = 3, 4  # the worker's only descriptors besides 0, 1 and 2, which are /dev/null

Work = Callable[[int], dict[str, Any]]
Furnish = Callable[[int], list[tuple[str, int]]]  # the worker's user namespace -> places and detached mounts


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a worker may use."""

    uid_base: int
    max_bytes: int  # of one file
    deadline_s: float


def directory(target: int) -> Furnish:
    """One directory, whose ids on disk are the worker's own."""

    def furnish(userns: int) -> list[tuple[str, int]]:
        attributes = mount.NOSUID | mount.NODEV | mount.NOEXEC
        return [("/", mount.tree("", dirfd=target, add=attributes, userns_fd=userns))]

    return furnish


def run(work: Work, stream: int, furnish: Furnish, bounds: Bounds, *, until: int | None = None) -> dict[str, Any]:
    """Run ``work(stream)`` where only what ``furnish`` gives is to be seen; its answer, or its EngineError.

    The first mount becomes the root directory, the others lie at their places in it; they are closed here. When the
    pidfd ``until`` tells that its process has ended, the stream is shut, the worker ended, and it is WrongState.

    For a process with one thread that is host root. On return and on raise the worker is gone and reaped, and its
    mounts went with it.
    """
    deadline = time.monotonic() + bounds.deadline_s
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            pid, pidfd = process.clone3(NAMESPACES)
            if pid == 0:
                _worker(work, stream, theirs, bounds)
        try:
            _send_trees(ours, pid, furnish, bounds.uid_base)
            answer = _receive(ours, deadline, until, stream)
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


def _send_trees(channel: socket.socket, pid: int, furnish: Furnish, uid_base: int) -> None:
    process.write_id_maps(pid, uid_base)
    namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        trees = furnish(namespace)
    finally:
        os.close(namespace)
    try:
        socket.send_fds(channel, [b"t"], [tree for _, tree in trees])
        channel.sendall(json.dumps([target for target, _ in trees[1:]]).encode())
        channel.shutdown(socket.SHUT_WR)
    finally:
        for _, tree in trees:
            os.close(tree)


def _receive(channel: socket.socket, deadline: float, until: int | None, stream: int) -> bytes:
    answer = bytearray()
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    if until is not None:
        poll.register(until, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll(max(deadline - time.monotonic(), 0.001) * 1000)]
        if channel.fileno() in ready:
            data = channel.recv(65536)
            if not data:
                return bytes(answer)
            answer += data
            if len(answer) > ANSWER_BYTES:
                raise InvalidRequest("the answer is too long: too many directories", hint="ask for a part of it")
        elif until is not None and until in ready:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(stream)) as cut:  # one that is no socket
                cut.shutdown(socket.SHUT_RDWR)  # so that it does not leave half a file
            poll.unregister(until)
            poll.poll(LAST_WORDS_S * 1000)
            raise WrongState("the container ended meanwhile, and the copy with it", hint="do it again")
        else:
            raise Unavailable(
                "it took too long and was ended", hint="try again, with fewer files or a smaller image at a time"
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
            answer = {"error": InvalidRequest("this needs too much memory", hint="split it into several").to_wire()}
        view = memoryview(json.dumps(answer).encode())
        while view:
            view = view[os.write(CHANNEL, view) :]
        code = 0
    finally:
        os._exit(code)


def _enter(bounds: Bounds) -> None:
    channel = socket.socket(fileno=os.dup(CHANNEL))
    _, (tree, *others), _, _ = socket.recv_fds(channel, 1, TREES)
    with channel.makefile("rb") as rest:
        targets = json.loads(rest.read())
    channel.close()
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    mount.mount_setattr(mount.AT_FDCWD, "/", mount.AT_RECURSIVE, propagation=mount.MS_PRIVATE)
    capabilities.drop_bounding_set(capabilities.mask(CAPABILITIES))
    place = os.open("/proc", os.O_PATH | os.O_CLOEXEC)  # any directory that is always there
    mount.attach(tree, place)
    os.close(place)
    os.close(tree)
    mount.enter_root("/proc")
    _put(sorted(zip(targets, others, strict=True), key=lambda each: each[0].count("/")))
    # Whatever Python has not loaded yet it would now look for in a tree that nobody trusts.
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not PathFinder]
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, bounds.max_bytes),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
    ):
        resource.setrlimit(kind, (limit, limit))
    os.umask(0)
    capabilities.capset(capabilities.mask(CAPABILITIES))
    process.prctl(process.PR_SET_DUMPABLE, 0)
    process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the last change of ids, which clears it
    process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict("/", RIGHTS)  # a second fence, where the kernel has it
    load(compile_allowlist(SYSTEM_CALLS))


def _put(trees: list[tuple[str, int]]) -> None:
    """Move mounts to their places, /a before /a/b, which it would hide."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for target, tree in trees:
        place = places.place(root, target, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
        mount.attach(tree, place)
        os.close(place)
        os.close(tree)
    os.close(root)


def _keep_only(stream: int, channel: int) -> None:
    """Put the two descriptors at STREAM and CHANNEL, /dev/null at 0 to 2, and close all others."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    wanted = (null, null, null, stream, channel)
    # Copies above all targets first, so that no dup2 overwrites a source that is still needed.
    copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(wanted)) for descriptor in wanted]
    for target, source in enumerate(copies):
        os.dup2(source, target)
    process.close_from(len(wanted))
