"""PID 1 of a container, from clone to execve. The order matters; isolation.md "Order of the child".

What fails is told to the starter as one message; what works is told by the socket closing at execve.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import sys
from typing import NoReturn

from engine.errors import CommandNotExecutable, CommandNotFound, EngineError, InvalidRequest, KernelError
from engine.linux import files, mount, process, seccomp
from engine.shim import identity, mounts, protocol

# isolation.md I1: podman's eleven.
CAPABILITIES = process.capability_mask(
    ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
     "SYS_CHROOT")
)  # fmt: skip
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What of the request its first process needs.
NEEDS = ("id", "rootfs", "etc", "volumes", "argv", "env", "user", "workdir", "hostname")
NOFILE_SOFT, NOFILE_HARD = 1024, 524288


def run(door: socket.socket, filter_: bytes, *, own_network: bool) -> NoReturn:
    """Prepare, wait at ``door`` for the starter's request, and become the container's command."""
    step = "preparing"
    try:
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)  # a dead shim's is nobody's
        os.setsid()
        process.reset_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o022)
        _limits()
        process.drop_bounding_set(CAPABILITIES)
        mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
        stage = mounts.prepare(own_network=own_network)
        step = "setting up the root file system"
        message = protocol.receive(door)  # the maps are written
        if message is None:
            os._exit(125)
        request, (stdout, stderr) = message
        process.prctl(process.PR_SET_DUMPABLE, 0)
        # While still the host's uid 0 to the file system, since WHARFIE_ROOT is closed to everybody else; and in this
        # mount namespace, since a mount can only be put on a place of one's own.
        place = os.open(request["rootfs"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)  # setresuid has cleared it
        dev = mounts.devices(stage)
        etc = mounts.etc_copies(place, request["etc"])
        message = protocol.receive(door)  # the groups are made
        if message is None:
            os._exit(125)
        for group in message[1]:
            os.write(group, b"0")
            os.close(group)
        process.unshare(process.CLONE_NEWCGROUP)
        mounts.cgroups(stage)
        message = protocol.receive(door)  # the mounts
        if message is None:
            os._exit(125)
        root, *volumes = message[1]
        mount.attach(root, place)
        targets = [volume["target"] for volume in request["volumes"]]
        mounts.assemble(root, stage, dev, etc, list(zip(targets, volumes, strict=True)))
        os.fchdir(root)
        mount.enter_root(".")
        step = "hardening the process"
        process.sethostname(request["hostname"])
        process.join_session_keyring(f"_ses.{request['id'][:12]}")
        who = identity.resolve(request["user"])
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
            os.dup2(source, target, inheritable=True)
        process.close_on_exec_from(3)
        step = "entering the working directory"
        _working_directory(request["workdir"])
        step = "dropping privileges"
        os.setgroups(who.groups)
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
        process.capset(CAPABILITIES if who.uid == 0 else 0)
        process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
        environment = _environment(request["env"], who.home, request["hostname"])
        programs = _candidates(request["argv"][0], environment["PATH"])
        if protocol.receive(door) is None:  # limits are set, and the run is on record
            os._exit(125)
        process.prctl(process.PR_SET_PDEATHSIG, 0)  # a dead shim must not take a running container along
        seccomp.load(filter_)
        step = "executing the command"
        _execute(programs, request["argv"], environment)
    except EngineError as error:
        protocol.send(door, error.to_wire())
    except OSError as error:
        protocol.send(door, KernelError.from_os(error, step).to_wire())
    except BaseException as error:
        protocol.send(door, KernelError(f"{step}: {error!r}").to_wire())
    os._exit(125)


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
