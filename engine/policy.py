"""What may be asked for: one function, called by every path that makes or changes a container."""

from __future__ import annotations

import math
import os

from engine import names
from engine.containers.spec import ContainerSpec, ExecSpec, Limits
from engine.errors import InvalidRequest

MIN_MEMORY_BYTES = 6 * 2**20  # below it the first process cannot be set up; Docker's floor
MIN_CPUS = 0.01  # the kernel's smallest quota, 1 ms of 100 ms; sched-bwc.rst
MAX_PIDS = 4_194_304  # the kernel's own limit; proc(5) pid_max
FORBIDDEN_TARGETS = ("/proc", "/sys", "/dev")
MAX_ENV_BYTES = 2**20
DEFAULT_PIDS = 2048  # guards against fork bombs


def default_limits() -> Limits:
    """What a container gets on this host when nothing is asked for."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return Limits(memory, memory, float(os.cpu_count() or 1), DEFAULT_PIDS)


def check(spec: ContainerSpec) -> None:
    """InvalidRequest, naming the field, unless the request may be carried out."""
    if spec.name:
        names.container_name(spec.name)
    if spec.hostname:
        names.hostname(spec.hostname)
    names.environment(spec.env)
    if sum(len(entry) for entry in spec.env) > MAX_ENV_BYTES:
        raise InvalidRequest("the environment is too large", hint="at most 1 MiB", field="env")
    for field, words in (("command", spec.command), ("entrypoint", spec.entrypoint)):
        if words and any("\0" in word for word in words):
            raise InvalidRequest("an argument contains a NUL byte", hint="remove it", field=field)
    if spec.stop_signal is not None:
        names.signal_number(spec.stop_signal, "stop_signal")
    if not (spec.stop_timeout_s >= 0 and math.isfinite(spec.stop_timeout_s)):
        raise InvalidRequest(
            "the stop timeout is not a number of seconds", hint="use 0 or more", field="stop_timeout_s"
        )
    if spec.workdir is not None:
        _absolute(spec.workdir, "workdir")
    if any(c in (spec.user or "") for c in "\0\n"):
        raise InvalidRequest("the user contains a control character", hint="write name or uid:gid", field="user")
    if not 65_536 <= spec.log_segment_bytes <= 2**40 or not 2 <= spec.log_segments <= 1000:
        raise InvalidRequest("log rotation is out of range", hint="segments of 64 KiB or more, at least 2", field="log")
    _limits(spec)
    _volumes(spec)


def check_exec(spec: ExecSpec) -> None:
    """InvalidRequest, naming the field, unless this command may be run in a container."""
    if not spec.command or not spec.command[0]:
        raise InvalidRequest("there is no command to run", hint="name a program", field="command")
    if any("\0" in word for word in spec.command):
        raise InvalidRequest("an argument contains a NUL byte", hint="remove it", field="command")
    names.environment(spec.env)
    if sum(len(entry) for entry in spec.env) > MAX_ENV_BYTES:
        raise InvalidRequest("the environment is too large", hint="at most 1 MiB", field="env")
    if spec.workdir is not None:
        _absolute(spec.workdir, "workdir")
    if any(c in (spec.user or "") for c in "\0\n"):
        raise InvalidRequest("the user contains a control character", hint="write name or uid:gid", field="user")
    if not (0 < spec.rows < 65536 and 0 < spec.columns < 65536):
        raise InvalidRequest("a terminal has 1 to 65535 rows and columns", hint="give its size", field="rows")


def _absolute(path: str, field: str) -> None:
    if not path.startswith("/") or "\0" in path or len(path) > 4095 or ".." in path.split("/"):
        raise InvalidRequest(f"{path!r} is not an absolute path", hint="begin it with /, without ..", field=field)


def _limits(spec: ContainerSpec) -> None:
    limits = spec.limits
    memory = limits.memory_bytes
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if memory is not None and memory < MIN_MEMORY_BYTES:
        raise InvalidRequest("the memory limit is too low to start anything", hint="use at least 6m", field="memory")
    if memory is not None and memory > most:
        raise InvalidRequest(
            "the memory limit is more than this host has", hint=f"use at most {most // 2**20}m", field="memory"
        )
    swap = limits.memory_swap_bytes
    if swap is not None and (memory is None or not memory <= swap < 2**62):
        raise InvalidRequest(
            "memory and swap together are less than memory", hint="give both, swap the larger", field="memory_swap"
        )
    cores = os.cpu_count() or 1
    if limits.cpus is not None and not MIN_CPUS <= limits.cpus <= cores:
        raise InvalidRequest(f"{limits.cpus:g} cores cannot be given", hint=f"use {MIN_CPUS} to {cores}", field="cpus")
    if limits.pids is not None and not 1 <= limits.pids <= MAX_PIDS:
        raise InvalidRequest(f"{limits.pids} is not a limit of processes", hint=f"use 1 to {MAX_PIDS}", field="pids")


def _volumes(spec: ContainerSpec) -> None:
    seen = set()
    for volume in spec.volumes:
        names.volume_name(volume.volume, "volumes")
        _absolute(volume.target, "volumes")
        target = os.path.normpath(volume.target)
        if target == "/" or any(target == top or target.startswith(top + "/") for top in FORBIDDEN_TARGETS):
            raise InvalidRequest(
                f"a volume cannot be mounted on {target}", hint="choose another directory", field="volumes"
            )
        if target in seen:
            raise InvalidRequest(
                f"two volumes are mounted on {target}", hint="give each its own directory", field="volumes"
            )
        seen.add(target)
