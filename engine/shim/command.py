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
from engine.linux import capabilities, files, mount, process, seccomp
from engine.shim import identity

CAPABILITIES = capabilities.mask(capabilities.DEFAULT)
FILTER = seccomp.compile_default()
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
capabilities.last()  # asked now, and kept: later /proc may be a container's
NOFILE_SOFT, NOFILE_HARD = 1024, 524288
# What of a request is needed here.
NEEDS = ("id", "argv", "env", "user", "workdir", "hostname", "confinement")


def settle(held: int) -> None:
    """What needs no request but to know what may stay in the bounding set: own session, signals."""
    os.setsid()
    process.reset_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    capabilities.drop_bounding_set(held)


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
    confinement = request["confinement"]
    who = identity.resolve(request["user"], confinement["groups"])
    if os.isatty(streams[0]):
        os.fchown(streams[0], who.uid, -1)  # so that it can be opened again by name; tty(4)
    for target, source in enumerate(streams):
        os.dup2(source, target, inheritable=True)
    process.close_on_exec_from(3)
    at("entering the working directory")
    _working_directory(request["workdir"])
    at("dropping privileges")
    held = confinement["capabilities"]
    if held != CAPABILITIES:
        capabilities.drop_bounding_set(held)
    os.setgroups(who.groups)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    capabilities.capset(held if who.uid == 0 else 0)
    process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    environment = _environment(request["env"], who.home, request["hostname"])
    programs = _present(request["argv"][0], environment["PATH"])
    program = FILTER if confinement["filter"] is None else bytes.fromhex(confinement["filter"])
    if helper >= 0 or not programs:
        _executable(programs, request["argv"][0])
    _limits(confinement["ulimits"])  # as late as can be: what comes before opens files
    permit()
    if program:
        seccomp.load(program)
    at("executing the command")
    if helper >= 0:
        os.execve(helper, ["tini", "--", *request["argv"]], environment)  # by descriptor: it is not in the image
    _execute(programs, request["argv"], environment)


def _limits(wanted: dict[str, list[int]]) -> None:
    """The default ones, and those that are wanted, by their numbers: never above what the host itself is bound to."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = NOFILE_HARD if hard == resource.RLIM_INFINITY else min(hard, NOFILE_HARD)
    limits = {resource.RLIMIT_NOFILE: [min(NOFILE_SOFT, ceiling), ceiling], resource.RLIMIT_CORE: [0, 0]}
    for number, (soft, most) in (limits | {int(number): pair for number, pair in wanted.items()}).items():
        host = resource.getrlimit(number)[1]
        if host != resource.RLIM_INFINITY and not 0 <= most <= host:
            raise InvalidRequest(
                f"a limit of the container's processes is above the host's own: {most}",
                hint=f"use at most {host}; the host's limits are those that Wharfie was started with",
                field="ulimits",
            )
        resource.setrlimit(number, (soft, most))


def make_directory(path: str) -> int:
    """An O_PATH descriptor of a directory, made when absent; inside the container, so no link leads out of it.

    Magic links are not followed either: /proc/self/fd/N could be a directory of the host (CVE-2024-21626,
    CVE-2026-55686).
    """
    flag, resolve = os.O_PATH | os.O_DIRECTORY, files.NO_MAGICLINKS
    try:
        return files.openat2(mount.AT_FDCWD, path, flag, resolve=resolve)
    except FileNotFoundError:
        above, _, name = path.rstrip("/").rpartition("/")
        parent = make_directory(above or "/")
        try:
            if name not in ("", "."):
                os.mkdir(name, 0o755, dir_fd=parent)
        finally:
            os.close(parent)
        return files.openat2(mount.AT_FDCWD, path, flag, resolve=resolve)


def _working_directory(path: str) -> None:
    """Enter it."""
    try:
        descriptor = make_directory(path)
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


def _present(command: str, path: str) -> list[tuple[str, OSError | None]]:
    """The files that may be meant, in the order of PATH, each with why it must not be executed, if so.

    Looked up before the filter is loaded, which may refuse the calls that takes.
    """
    if "/" in command:
        found = [command] if os.path.lexists(command) else []
    else:
        named = (f"{directory or '.'}/{command}" for directory in path.split(":"))
        found = [program for program in named if os.path.lexists(program) and not os.path.isdir(program)]
    return [(program, _refusal(program)) for program in found]


def _execute(programs: list[tuple[str, OSError | None]], argv: list[str], environment: dict[str, str]) -> NoReturn:
    """The first of these that can be executed; by execve alone."""
    refused: OSError | None = None
    for program, wanting in programs:
        try:
            if wanting is not None:
                raise wanting
            os.execve(program, argv, environment)
        except OSError as error:  # ENOENT too: of a script whose interpreter is missing
            refused = refused or error
    raise _not_executed(argv[0], refused)


def _not_executed(name: str, refused: OSError | None) -> InvalidRequest:
    """What the caller is told, by the first error; None: there is no such file."""
    if refused is None:
        return CommandNotFound(
            f"{name!r} is not in the image", hint="check the spelling, or give its full path", field="command"
        )
    if refused.errno == errno.E2BIG:
        return InvalidRequest(
            f"{name!r} cannot be executed: {refused.strerror}",
            hint="arguments and environment are too long: put them into a file",
            field="command",
        )
    return CommandNotExecutable(
        f"{name!r} cannot be executed: {refused.strerror}",
        hint="check its mode, its architecture and the interpreter in its first line",
        field="command",
    )


def _executable(programs: list[tuple[str, OSError | None]], name: str) -> None:
    """Raise unless one of them can be executed: a helper would only say so in the container's log."""
    refused: OSError | None = None
    for program, wanting in programs:
        if wanting is None and os.access(program, os.X_OK):
            return
        refused = refused or wanting or PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    raise _not_executed(name, refused)


def _refusal(program: str) -> OSError | None:
    """Why it must not be executed, as far as can be told before."""
    try:
        _refuse_own_interpreter(program)
    except OSError as error:
        return error
    return None


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
