"""What may be asked for: one function, called by every path that makes or changes a container."""

from __future__ import annotations

import math
import os
import re
import stat
from pathlib import Path

from engine import names
from engine.containers.spec import CommitSpec, ContainerSpec, ExecSpec, HealthCheck, Limits, RestartMode, RestartPolicy
from engine.errors import InvalidRequest

MIN_MEMORY_BYTES = 6 * 2**20  # below it the first process cannot be set up; Docker's floor
MIN_CPUS = 0.01  # the kernel's smallest quota, 1 ms of 100 ms; sched-bwc.rst
MAX_PIDS = 4_194_304  # the kernel's own limit; proc(5) pid_max
MAX_CPUS = 8192  # the kernel's own limit, CONFIG_NR_CPUS
CPU_SHARES = (2, 262_144)  # kernel/sched/sched.h MIN_SHARES, MAX_SHARES
IO_WEIGHTS = (10, 1000)  # Docker's scale; docs.docker.com/reference/cli/docker/container/run, --blkio-weight
UNLIMITED = -1  # memory and swap together: any amount of swap
FOREVER = -1
FORBIDDEN_TARGETS = ("/proc", "/sys", "/dev")
MAX_MOUNTS = 60  # of volumes and the like in one container; each is a descriptor in one message
MAX_ENV_BYTES = 2**20
MAX_HEALTH_S = 86_400.0
MAX_TEXT = 4096  # characters that an image may say of its making
MAX_COPY_BYTES = 64 * 2**30  # of all files of one copy into a container
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
    stop_timeout(spec.stop_timeout_s)
    if spec.workdir is not None:
        _absolute(spec.workdir, "workdir")
    if any(c in (spec.user or "") for c in "\0\n"):
        raise InvalidRequest("the user contains a control character", hint="write name or uid:gid", field="user")
    if not 65_536 <= spec.log_segment_bytes <= 2**40 or not 2 <= spec.log_segments <= 1000:
        raise InvalidRequest("log rotation is out of range", hint="segments of 64 KiB or more, at least 2", field="log")
    check_limits(spec.limits)
    check_restart(spec.restart)
    if spec.health is not None:
        check_health(spec.health)
    _mounts(spec)


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


def check_path(path: str) -> None:
    """InvalidRequest unless a container may be asked for this path. Where it leads is the container's own affair."""
    if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > 4095:
        raise InvalidRequest(f"{path!r} is not an absolute path", hint="begin it with /", field="path")


def check_commit(spec: CommitSpec) -> None:
    """InvalidRequest, naming the field, unless an image may say this of itself."""
    for field, value in (("author", spec.author), ("message", spec.message)):
        if "\0" in value or len(value) > MAX_TEXT:
            raise InvalidRequest(f"the {field} is too long", hint=f"use {MAX_TEXT} characters at most", field=field)


def _absolute(path: str, field: str) -> None:
    if not path.startswith("/") or "\0" in path or len(path) > 4095 or ".." in path.split("/"):
        raise InvalidRequest(f"{path!r} is not an absolute path", hint="begin it with /, without ..", field=field)


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
            raise InvalidRequest(
                f"the health check's {name.removesuffix('_s').replace('_', ' ')} is no time",
                hint="use 1 ms to a day, as 500ms, 30s or 2m",
                field="health",
            )
    if not 1 <= check.retries <= 1000:
        raise InvalidRequest(f"{check.retries} is not a number of retries", hint="use 1 to 1000", field="health")


def check_limits(limits: Limits) -> None:
    """InvalidRequest, naming the field, unless this host can give so much and no less will do."""
    _memory(limits)
    cores = os.cpu_count() or 1
    if limits.cpus is not None and not MIN_CPUS <= limits.cpus <= cores:
        raise InvalidRequest(f"{limits.cpus:g} cores cannot be given", hint=f"use {MIN_CPUS} to {cores}", field="cpus")
    for field, value, (least, most), what in (
        ("pids", limits.pids, (1, MAX_PIDS), "a limit of processes"),
        ("cpu_shares", limits.cpu_shares, CPU_SHARES, "a share of the CPUs"),
        ("io_weight", limits.io_weight, IO_WEIGHTS, "a weight of I/O"),
    ):
        if value is not None and not least <= value <= most:
            raise InvalidRequest(f"{value} is not {what}", hint=f"use {least} to {most}", field=field)
    _members(limits.cpuset_cpus, "/sys/devices/system/cpu/online", "cpuset_cpus", "CPUs")
    _members(limits.cpuset_mems, "/sys/devices/system/node/online", "cpuset_mems", "memory nodes")
    for each in limits.io:
        device_number(each.device)
        for rate in (each.read_bytes_per_s, each.write_bytes_per_s, each.reads_per_s, each.writes_per_s):
            if rate is not None and not 0 <= rate < 2**52:
                raise InvalidRequest(
                    f"{rate} is not a rate of I/O", hint="use 1 or more a second, or 0 for no limit", field="io"
                )
    for pages in limits.huge_pages:
        if not os.path.isdir(f"/sys/kernel/mm/hugepages/hugepages-{pages.page_bytes // 1024}kB"):
            raise InvalidRequest(
                f"there are no huge pages of {pages.page_bytes} bytes here",
                hint="see /sys/kernel/mm/hugepages",
                field="huge_pages",
            )
        if not 0 <= pages.limit_bytes < 2**62:
            raise InvalidRequest(f"{pages.limit_bytes} is not a size", hint="use 0 or more", field="huge_pages")


def _memory(limits: Limits) -> None:
    memory, swap = limits.memory_bytes, limits.memory_swap_bytes
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if memory is not None and memory < MIN_MEMORY_BYTES:
        raise InvalidRequest("the memory limit is too low to start anything", hint="use at least 6m", field="memory")
    if memory is not None and memory > most:
        raise InvalidRequest(
            "the memory limit is more than this host has", hint=f"use at most {most // 2**20}m", field="memory"
        )
    if swap is not None and (memory is None or not (swap == UNLIMITED or memory <= swap < 2**62)):
        raise InvalidRequest(
            "memory and swap together are less than memory", hint="give both, swap the larger", field="memory_swap"
        )


def _members(text: str | None, online: str, field: str, what: str) -> None:
    """A list as cpuset(7) writes it, of what is online."""
    if not text:
        return
    present = _list(Path(online).read_text()) if os.path.exists(online) else {0}
    try:
        wrong = _list(text) - present
    except ValueError:
        raise InvalidRequest(f"{text!r} is not a list of {what}", hint="write it like 0-2,4", field=field) from None
    if wrong:
        have = ",".join(map(str, sorted(present)))
        raise InvalidRequest(f"this host has no {what} {sorted(wrong)[0]}", hint=f"it has {have}", field=field)


def _list(text: str) -> set[int]:
    """The numbers of a list such as 0-2,4; ValueError when it is none."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            raise ValueError(part)
        low, high = int(first), int(last or first)
        if not low <= high < MAX_CPUS:
            raise ValueError(part)
        found |= set(range(low, high + 1))
    return found


def device_number(text: str) -> str:
    """A whole disk, given as its device file or as major:minor, as major:minor; else InvalidRequest."""
    number = text
    if text.startswith("/dev/"):
        try:
            found = os.stat(text)
        except OSError as error:
            raise InvalidRequest(f"{text}: {error.strerror}", hint="name a disk of this host", field="io") from error
        number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}" if stat.S_ISBLK(found.st_mode) else ""
    if not re.fullmatch(r"[0-9]{1,4}:[0-9]{1,7}", number) or not os.path.isdir(f"/sys/dev/block/{number}"):
        raise InvalidRequest(f"{text!r} is not a disk", hint="name one like /dev/sda or 8:0", field="io")
    if os.path.exists(f"/sys/dev/block/{number}/partition"):
        raise InvalidRequest(f"{text} is a part of a disk", hint="only whole disks have limits", field="io")
    return number


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
    target = os.path.normpath(path)
    if target == "/" or any(target == top or target.startswith(top + "/") for top in FORBIDDEN_TARGETS):
        raise InvalidRequest(f"nothing can be mounted on {target}", hint="choose another directory", field=field)
    if target in seen:
        raise InvalidRequest(f"two are mounted on {target}", hint="give each its own directory", field=field)
    seen.add(target)
