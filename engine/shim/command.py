"""A process of a container, from standing in its root to execve: the tail that its first process and all others share.

Each does `settle` once, and `become` when its streams are there; isolation.md "Order of the child".
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from engine.errors import CommandNotExecutable, CommandNotFound, InvalidRequest
from engine.linux import files, mount, process, seccomp
from engine.shim import identity

# isolation.md I1: podman's eleven.
CAPABILITIES = process.capability_mask(
    ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
     "SYS_CHROOT")
)  # fmt: skip
FILTER = seccomp.compile_default()
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOFILE_SOFT, NOFILE_HARD = 1024, 524288
# What of a request is needed here.
NEEDS = ("id", "argv", "env", "user", "workdir", "hostname")


def settle() -> None:
    """What needs no request: own session, signals, limits, the bounding set."""
    os.setsid()
    process.reset_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    _limits()
    process.drop_bounding_set(CAPABILITIES)


def become(
    request: dict[str, Any],
    streams: tuple[int, int, int],
    at: Callable[[str], None],
    permit: Callable[[], None],
    helper: int = -1,
) -> NoReturn:
    """Execute the request's command with these three as its streams; ``at`` is told each step.

    ``helper`` is a descriptor of the program that runs it as its child, or -1.

    ``permit`` is called when all is ready but the filter. Raises EngineError or OSError when there is no command.
    """
    at("hardening the process")
    process.join_session_keyring(f"_ses.{request['id'][:12]}")
    who = identity.resolve(request["user"])
    if os.isatty(streams[0]):
        os.fchown(streams[0], who.uid, -1)  # so that it can be opened again by name; tty(4)
    for target, source in enumerate(streams):
        os.dup2(source, target, inheritable=True)
    process.close_on_exec_from(3)
    at("entering the working directory")
    _working_directory(request["workdir"])
    at("dropping privileges")
    os.setgroups(who.groups)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    process.capset(CAPABILITIES if who.uid == 0 else 0)
    process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    environment = _environment(request["env"], who.home, request["hostname"])
    programs = _candidates(request["argv"][0], environment["PATH"])
    permit()
    seccomp.load(FILTER)
    at("executing the command")
    if helper >= 0:
        _find(programs, request["argv"])
        os.execve(helper, ["tini", "--", *request["argv"]], environment)  # by descriptor: it is not in the image
    _execute(programs, request["argv"], environment)


def _limits() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = NOFILE_HARD if hard == resource.RLIM_INFINITY else min(hard, NOFILE_HARD)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(NOFILE_SOFT, ceiling), ceiling))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _working_directory(path: str) -> None:
    """Enter it, made when absent; inside the container and as its root, so no link leads out (CVE-2026-55686)."""
    try:
        os.makedirs(path, 0o755, exist_ok=True)
        # No magic link on the way: /proc/self/fd/N could be a directory of the host (CVE-2024-21626).
        descriptor = files.openat2(mount.AT_FDCWD, path, os.O_PATH | os.O_DIRECTORY, resolve=files.NO_MAGICLINKS)
        os.fchdir(descriptor)
        os.close(descriptor)
        if not os.getcwd().startswith("/"):
            raise FileNotFoundError(2, "outside of the container")
    except OSError as error:
        raise InvalidRequest(
            f"working directory {path!r}: {error.strerror}", hint="name a directory in the container", field="workdir"
        ) from error


def _environment(wanted: list[str], home: str, hostname: str) -> dict[str, str]:
    result = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname, "HOME": home}
    for entry in wanted:
        name, _, value = entry.partition("=")
        result[name] = value
    return result


def _candidates(command: str, path: str) -> list[str]:
    if "/" in command:
        return [command]
    return [f"{directory or '.'}/{command}" for directory in path.split(":")]


def _execute(programs: list[str], argv: list[str], environment: dict[str, str]) -> NoReturn:
    refused: OSError | None = None
    for program in programs:
        try:
            _refuse_own_interpreter(program)
            os.execve(program, argv, environment)
        except (FileNotFoundError, NotADirectoryError) as error:
            # A script whose interpreter is missing is ENOENT too, though the file itself is there.
            if os.path.lexists(program) and not os.path.isdir(program):
                refused = refused or error
        except OSError as error:
            refused = refused or error
    if refused is not None and refused.errno == errno.E2BIG:
        raise InvalidRequest(
            f"{argv[0]!r} cannot be executed: {refused.strerror}",
            hint="arguments and environment are too long: put them into a file",
            field="command",
        )
    if refused is not None:
        raise CommandNotExecutable(
            f"{argv[0]!r} cannot be executed: {refused.strerror}",
            hint="check its mode, its architecture and the interpreter in its first line",
            field="command",
        )
    raise CommandNotFound(
        f"{argv[0]!r} is not in the image", hint="check the spelling, or give its full path", field="command"
    )


def _find(programs: list[str], argv: list[str]) -> None:
    """CommandNotFound unless one of the programs is there: the helper would only say so in the container's log."""
    if not any(os.access(program, os.X_OK) for program in programs):
        raise CommandNotFound(
            f"{argv[0]!r} is not in the image", hint="check the spelling, or give its full path", field="command"
        )


def _refuse_own_interpreter(program: str) -> None:
    """Until execve, /proc/self/exe is the host's Python: no command and no script may mean that (CVE-2019-5736)."""
    for _ in range(5):
        os.close(files.openat2(mount.AT_FDCWD, program, os.O_PATH, resolve=files.NO_MAGICLINKS))
        try:
            descriptor = os.open(program, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:  # a binary may be executable and not readable; a script may not
            return
        try:
            head = os.read(descriptor, 256)
        finally:
            os.close(descriptor)
        if not head.startswith(b"#!"):
            return
        words = head[2:].split(b"\n")[0].split()
        if not words:
            return
        program = os.fsdecode(words[0])


if sys.byteorder != "little":
    raise ImportError("the seccomp filter reads the low half of an argument at its first byte")
