"""What may be asked for, and by whom: called by every path that makes a container, changes its limits or enters it, and
by what makes an image of a file of the host. Whoever has an account may start, stop and remove what there is.

A member gets containers with every default of isolation, and into those alone. What opens more is for admins; one table
says what that is (`for_admins`), whatever the way in.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import BinaryIO

from engine import names
from engine.cgroups import bounds
from engine.containers.spec import (
    CommitSpec,
    ContainerSpec,
    ExecSpec,
    HealthCheck,
    Limits,
    NetworkMode,
    RestartMode,
    RestartPolicy,
)
from engine.errors import Busy, Denied, InvalidRequest
from engine.linux import process
from engine.security import checks
from engine.security.confinement import DEFAULT, capabilities
from engine.security.spec import HOST, Caller, Role

FOREVER = -1
FORBIDDEN_TARGETS = ("/proc", "/sys", "/dev")
MAX_MOUNTS = 60  # of volumes and the like in one container; each is a descriptor in one message
MAX_ENV_BYTES = 2**20
MAX_HEALTH_S = 86_400.0
MAX_TEXT = 4096  # characters that an image may say of its making
MAX_COPY_BYTES = 64 * 2**30  # of all files of one copy into a container
MAX_EDIT_BYTES = 2**20  # of a file that is read or written at once, in memory
MAX_TERMINALS = 200  # open on this host
MAX_TERMINALS_OF_ONE = 20  # of these by one person
MAX_LISTED = 1000  # entries of a directory at once
DEFAULT_PIDS = 2048  # guards against fork bombs


def default_limits() -> Limits:
    """What a container gets on this host when nothing is asked for."""
    memory = process.host_memory_bytes() // 2
    return Limits(memory, memory, float(os.cpu_count() or 1), DEFAULT_PIDS)


def for_admins(spec: ContainerSpec) -> dict[str, str]:
    """What of a request only an admin may ask for: the field, and the option as the command line has it."""
    security, namespaces = spec.security, spec.namespaces
    beyond = capabilities(security) - DEFAULT
    table = (
        ("privileged", "--privileged", security.privileged),
        ("cap_add", "--cap-add", beyond and not security.privileged),
        ("devices", "--device", security.devices),
        ("seccomp", "--security-opt seccomp", security.seccomp),
        ("network", f"--network {spec.network.value}", spec.network is not NetworkMode.NONE or namespaces.network),
        ("pid", "--pid", namespaces.pid),
        ("ipc", "--ipc", namespaces.ipc),
        ("uts", "--uts", namespaces.uts),
        ("userns", "--userns", namespaces.user),
        ("binds", "a directory of the host", spec.binds),
    )
    return {field: option for field, option, asked in table if asked} | _limits_for_admins(spec.limits)


def _limits_for_admins(limits: Limits) -> dict[str, str]:
    table = (
        ("memory_swap", "--memory-swap -1", limits.memory_swap_bytes == bounds.UNLIMITED),
        ("io", "a limit of a disk of the host", limits.io),
    )
    return {field: option for field, option, asked in table if asked}


def _allow(caller: Caller, asked: dict[str, str], of: str = "") -> None:
    """Denied, naming the option, when it is not for this caller."""
    if caller.role is Role.ADMIN:
        return
    for field, option in asked.items():
        raise Denied(
            f"container {of!r} is for admins only, because of {option}" if of else f"{option} is for admins only",
            hint="ask an admin" if of else "leave it out, or ask an admin",
            field=field,
        )


def check(spec: ContainerSpec, caller: Caller) -> None:
    """Whether this container may be made: Denied or InvalidRequest, naming the field, when not."""
    _allow(caller, for_admins(spec))
    if spec.name:
        names.container_name(spec.name)
    for field, name in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if name and names.hostname(name, field) and spec.namespaces.uts == HOST:
            raise InvalidRequest("the name is the host's", hint="leave --uts or the name out", field=field)
    names.environment(spec.env)
    if sum(len(entry) for entry in spec.env) > MAX_ENV_BYTES:
        raise InvalidRequest("the environment is too large", hint="at most 1 MiB", field="env")
    for field, words in (("command", spec.command), ("entrypoint", spec.entrypoint)):
        if words and any("\0" in word for word in words):
            raise InvalidRequest("an argument contains a NUL byte", hint="remove it", field=field)
    if spec.stop_signal is not None:
        names.signal_number(spec.stop_signal, "stop_signal")
    stop_timeout(spec.stop_timeout_s)
    if spec.workdir is not None:
        _absolute(spec.workdir, "workdir")
    names.user(spec.user or "")
    if not 65_536 <= spec.log_segment_bytes <= 2**40 or not 2 <= spec.log_segments <= 1000:
        raise InvalidRequest("log rotation is out of range", hint="segments of 64 KiB or more, at least 2", field="log")
    bounds.check(spec.limits)
    check_restart(spec.restart)
    if spec.health is not None:
        check_health(spec.health)
    _mounts(spec)
    if bool(spec.namespaces.network) != (spec.network is NetworkMode.CONTAINER):
        raise InvalidRequest(
            "whose network it shares is not said", hint="use container:NAME, none or host", field="network"
        )
    checks.check(spec.security, spec.namespaces, own_network=spec.network is NetworkMode.NONE)


def archive(source: Path | BinaryIO, caller: Caller) -> Path | BinaryIO:
    """What an image is read from. A path is opened as the host's root, so it is for admins: Denied for a member."""
    if isinstance(source, Path):
        _allow(caller, {"path": "a file of the host"})
    return source


def enter(container: ContainerSpec, caller: Caller) -> None:
    """Denied unless this caller may be in that container: a member not in one that is more open than a member's."""
    _allow(caller, for_admins(container), container.name)


def enter_terminal(caller: Caller, *, privileged: bool) -> None:
    """Denied unless this caller may sit down at a terminal whose command was given every capability."""
    if privileged and caller.role is not Role.ADMIN:
        message = "this terminal is for admins only, because of --privileged"
        raise Denied(message, hint="ask an admin", field="privileged")


def check_exec(spec: ExecSpec, container: ContainerSpec, caller: Caller) -> None:
    """Whether this command may be run in that container: Denied or InvalidRequest, naming the field, when not."""
    enter(container, caller)
    _allow(caller, {"privileged": "--privileged"} if spec.privileged else {})
    if spec.privileged and container.namespaces.user == HOST:
        hint = "leave --privileged out: the container has no user namespace of its own"
        raise InvalidRequest("it would have every capability over the host", hint=hint, field="privileged")
    if not spec.command or not spec.command[0]:
        raise InvalidRequest("there is no command to run", hint="name a program", field="command")
    if any("\0" in word for word in spec.command):
        raise InvalidRequest("an argument contains a NUL byte", hint="remove it", field="command")
    names.environment(spec.env)
    if sum(len(entry) for entry in spec.env) > MAX_ENV_BYTES:
        raise InvalidRequest("the environment is too large", hint="at most 1 MiB", field="env")
    if spec.workdir is not None:
        _absolute(spec.workdir, "workdir")
    names.user(spec.user or "")
    if not (0 < spec.rows < 65536 and 0 < spec.columns < 65536):
        raise InvalidRequest("a terminal has 1 to 65535 rows and columns", hint="give its size", field="rows")


def check_terminals(opened: list[tuple[str, str]], caller: Caller) -> None:
    """Busy when this person has too many open, or all have: of each, in which container and by whom. Whoever is root of
    this host may have any number."""
    mine = [container for container, by in opened if by == caller.name]
    if caller.name and len(mine) >= MAX_TERMINALS_OF_ONE:
        places = ", ".join(sorted(set(mine)))
        raise Busy(f"{len(mine)} terminals of yours are open", hint=f"hang up one of them: they are in {places}")
    if caller.name and len(opened) >= MAX_TERMINALS:
        raise Busy(f"{len(opened)} terminals are open on this host", hint="hang up one that nobody needs")


def check_path(path: str) -> None:
    """InvalidRequest unless a container may be asked for this path. Where it leads is the container's own affair."""
    if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > 4095:
        raise InvalidRequest(f"{path!r} is not an absolute path", hint="begin it with /", field="path")


def check_file(path: str) -> None:
    """InvalidRequest unless the path ends in a name that a file can have."""
    name = path.rpartition("/")[2]
    if name in ("", ".", ".."):
        raise InvalidRequest(f"{path!r} ends in no name", hint="name a file or directory", field="name")
    if len(os.fsencode(name)) > 255:
        raise InvalidRequest("the name is too long", hint="use 255 bytes at most", field="name")


def check_part(first: int, count: int, most: int) -> None:
    """InvalidRequest unless this much may be asked for at once."""
    if not (0 <= first < 2**62 and 0 < count <= most):
        raise InvalidRequest("that is too much at once", hint=f"ask for {most} at most", field="count")


def check_edit(data: bytes) -> None:
    """InvalidRequest for more than may be written at once."""
    if len(data) > MAX_EDIT_BYTES:
        raise InvalidRequest(
            "the text is too long to be edited here", hint="use 1 MiB at most, or upload it", field="text"
        )


def check_commit(spec: CommitSpec) -> None:
    """InvalidRequest, naming the field, unless an image may say this of itself."""
    for field, value in (("author", spec.author), ("message", spec.message)):
        if "\0" in value or len(value) > MAX_TEXT:
            raise InvalidRequest(f"the {field} is too long", hint=f"use {MAX_TEXT} characters at most", field=field)


def _absolute(path: str, field: str) -> None:
    if not path.startswith("/") or "\0" in path or len(path) > 4095 or ".." in path.split("/"):
        raise InvalidRequest(
            f"{path!r} is not an absolute path", hint="it begins with / and has no .. in it", field=field
        )


def stop_timeout(seconds: float, field: str = "stop_timeout_s") -> float:
    """How long to wait between the stop signal and SIGKILL: 0 or more, or -1 for ever; else InvalidRequest."""
    if not (seconds == FOREVER or (seconds >= 0 and math.isfinite(seconds))):
        raise InvalidRequest(
            "the stop timeout is not a number of seconds", hint="use 0 or more, or -1 to wait for ever", field=field
        )
    return seconds


def check_restart(wanted: RestartPolicy) -> None:
    """InvalidRequest for a number of restarts that goes with another policy, or is none."""
    if wanted.most < 0 or (wanted.most and wanted.mode is not RestartMode.ON_FAILURE):
        raise InvalidRequest(
            "a number of restarts goes with on-failure only", hint="leave it out, or use on-failure:N", field="restart"
        )


def check_health(check: HealthCheck) -> None:
    """InvalidRequest, unless every time is one; the least is Docker's 1 ms."""
    if any("\0" in word for word in check.test) or (check.test and not check.test[0]):
        raise InvalidRequest("the health check has no program", hint="name one", field="health")
    for name in ("interval_s", "timeout_s", "start_interval_s", "start_period_s"):
        seconds = getattr(check, name)
        least = 0.0 if name == "start_period_s" else 0.001
        if not least <= seconds <= MAX_HEALTH_S:
            what = name.removesuffix("_s").replace("_", " ")
            raise InvalidRequest(
                f"the health check's {what} is no time",
                hint="use 1 ms to a day, as 500ms, 30s or 2m",
                field="health",
            )
    if not 1 <= check.retries <= 1000:
        raise InvalidRequest(f"{check.retries} is not a number of retries", hint="use 1 to 1000", field="health")


def check_update(wanted: Limits, caller: Caller) -> None:
    """Denied unless this caller may change these limits."""
    _allow(caller, _limits_for_admins(wanted))


def check_kept(before: Limits, after: Limits, caller: Caller) -> None:
    """Denied when what only an admin may set would be other than before: it stays, whoever changes the rest."""
    other = {"io": before.io != after.io, "memory_swap": before.memory_swap_bytes != after.memory_swap_bytes}
    _allow(caller, {field: option for field, option in _limits_for_admins(before).items() if other[field]})


def _mounts(spec: ContainerSpec) -> None:
    if len(spec.volumes) + len(spec.binds) + len(spec.tmpfs) > MAX_MOUNTS:
        raise InvalidRequest("too much is mounted", hint=f"mount {MAX_MOUNTS} things at most", field="volumes")
    seen: set[str] = set()
    for volume in spec.volumes:
        names.volume_name(volume.volume, "volumes")
        _target(volume.target, seen, "volumes")
        if volume.subpath and (volume.subpath.startswith("/") or {"..", ""} & set(volume.subpath.split("/"))):
            hint = "write a directory of the volume without a slash at its beginning or end, and without .."
            raise InvalidRequest(f"{volume.subpath!r} is no place in a volume", hint=hint, field="volumes")
        if "\0" in volume.subpath:
            raise InvalidRequest("a path contains a NUL byte", hint="remove it", field="volumes")
    for bind in spec.binds:
        _absolute(bind.source, "binds")
        _target(bind.target, seen, "binds")
    for tmpfs in spec.tmpfs:
        _target(tmpfs.target, seen, "tmpfs")
        if tmpfs.size_bytes is not None and not 4096 <= tmpfs.size_bytes < 2**62:
            raise InvalidRequest(f"{tmpfs.size_bytes} is no size of a tmpfs", hint="use 4k or more", field="tmpfs")
        if not 0 <= tmpfs.mode <= 0o1777:
            raise InvalidRequest(f"{tmpfs.mode:o} is no mode of a tmpfs", hint="use 0 to 1777", field="tmpfs")


def _target(path: str, seen: set[str], field: str) -> None:
    """A place that something may be mounted on, and nothing else is."""
    _absolute(path, field)
    target = os.path.normpath(f"//{path}")  # which leaves two slashes at the beginning as they are, but not three
    if target == "/" or any(target == top or target.startswith(top + "/") for top in FORBIDDEN_TARGETS):
        raise InvalidRequest(f"nothing can be mounted on {target}", hint="choose another directory", field=field)
    if target in seen:
        raise InvalidRequest(f"two are mounted on {target}", hint="give each its own directory", field=field)
    seen.add(target)
