"""A spec in Docker's words: each option as a form and a command line have it, and the whole `docker run`."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Iterator

from engine import (
    BindMount,
    ContainerSpec,
    Device,
    HealthCheck,
    IoLimit,
    Limits,
    NetworkMode,
    Security,
    TmpfsMount,
    Ulimit,
    VolumeMount,
)

_LETTERS = {"n": "\n", "r": "\r", "t": "\t"}
_ESCAPES = str.maketrans({char: f"\\{letter}" for letter, char in _LETTERS.items()})
_UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
SHELL = ("/bin/sh", "-c")
RATES = (
    ("read_bytes_per_s", "read-bps"), ("write_bytes_per_s", "write-bps"), ("reads_per_s", "read-iops"),
    ("writes_per_s", "write-iops"),
)  # fmt: skip
PROFILE = "profile.json"  # a filter's profile is a file of its own on a command line


def size(count: int) -> str:
    """Bytes, exactly, in the largest unit that leaves nothing over."""
    for unit, length in (("g", 2**30), ("m", 2**20), ("k", 2**10)):
        if count and count % length == 0:
            return f"{count // length}{unit}"
    return f"{count}b" if count >= 0 else str(count)


def seconds(count: float) -> str:
    """A length of time as `console.upkeep.seconds` reads it."""
    milliseconds = round(count * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def number(value: float) -> str:
    """Without a fraction that is none."""
    return f"{value:.10g}"


def volume(mount: VolumeMount) -> str:
    """As of -v, or of --mount where that cannot say it."""
    if mount.subpath:
        options = ["type=volume", f"source={mount.volume}", f"target={mount.target}", f"volume-subpath={mount.subpath}"]
        return _listed(options + ["readonly"] * mount.read_only + ["volume-nocopy"] * (not mount.copy))
    options = ["ro"] * mount.read_only + ["nocopy"] * (not mount.copy)
    return ":".join([mount.volume, mount.target, *([",".join(options)] if options else [])])


def bind(mount: BindMount) -> str:
    """As `volume`."""
    if ":" in mount.source + mount.target:
        options = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
        return _listed(options + ["readonly"] * mount.read_only)
    return f"{mount.source}:{mount.target}" + ":ro" * mount.read_only


def tmpfs(mount: TmpfsMount) -> str:
    """As of --tmpfs."""
    options = [] if mount.size_bytes is None else [f"size={size(mount.size_bytes)}"]
    options += [f"mode={mount.mode:o}"] * (mount.mode != 0o1777)
    options += ["exec"] * mount.executable + ["ro"] * mount.read_only
    return mount.target + (":" + ",".join(options) if options else "")


def device(wanted: Device) -> str:
    """As of --device."""
    return ":".join(
        [wanted.source]
        + [wanted.target] * (wanted.target != wanted.source or wanted.access != "rwm")
        + [wanted.access] * (wanted.access != "rwm")
    )


def ulimit(wanted: Ulimit) -> str:
    """As of --ulimit."""
    soft, hard = ("unlimited" if each == -1 else str(each) for each in (wanted.soft, wanted.hard))
    return f"{wanted.name}={soft}" + f":{hard}" * (hard != soft)


def disk(limit: IoLimit) -> Iterator[tuple[str, str]]:
    """The kinds of rates of a disk, each with the disk and the rate as of --device-…."""
    for field, kind in RATES:
        rate = getattr(limit, field)
        if rate is not None:
            yield kind, f"{limit.device}:{size(rate) if 'bps' in kind and rate else rate}"


def health(check: HealthCheck) -> str:
    """Its shell command."""
    return check.test[2] if check.test[:2] == SHELL and len(check.test) == 3 else shlex.join(check.test)


def line(entry: str) -> str:
    """``NAME=value`` in one line: a value that has several, or blanks at an end, as bash writes it, in $'…'."""
    name, sign, value = entry.partition("=")
    if not value or (value.splitlines() == [value] and value == value.strip() and not value.startswith("$'")):
        return entry
    inside = value.replace("\\", "\\\\").replace("'", "\\'")
    inside = _UNPRINTED.sub(lambda match: f"\\u{ord(match[0]):04x}", inside.translate(_ESCAPES))
    return f"{name}{sign}$'{inside}'"


def entry(line: str) -> str:
    """The inverse of `line`; any other text is itself."""
    name, sign, value = line.partition("=")
    if len(value) < 3 or not (value.startswith("$'") and value.endswith("'")):
        return line
    return f"{name}{sign}{_ESCAPED.sub(_meant, value[2:-1])}"


def _meant(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _LETTERS.get(match[2], match[2])


def run(spec: ContainerSpec) -> list[str]:
    """The words of a `docker run` that asks for the same; `manage.py wharfie run` reads them too."""
    words = ["docker", "run", "-d", *_identity(spec), *_limits(spec.limits), *_mounts(spec)]
    words += [*_sharing(spec), *_security(spec.security), *_upkeep(spec)]
    arguments = spec.command or ()
    if spec.entrypoint is not None:
        words += ["--entrypoint", shlex.quote(spec.entrypoint[0]) if spec.entrypoint else ""]
        arguments = (*spec.entrypoint[1:], *arguments)
    return [*words, spec.image, *arguments]


def shell(words: list[str]) -> str:
    """Words for a shell, an option a line."""
    lines, line = [], words[:2]
    for word in words[2:]:
        if word.startswith("-") and not _ended(line):
            lines.append(line)
            line = []
        line.append(word)
    return " \\\n  ".join(shlex.join(line) for line in [*lines, line])


def _ended(line: list[str]) -> bool:
    """Whether the image stands in it: what comes then is the command's, whatever it begins with."""
    takes = 1 if line and line[0] in _BARE else 2
    return bool(line) and line[0].startswith("-") and len(line) > takes


_BARE = {"-d", "-t", "-i", "--init", "--privileged", "--read-only", "--no-healthcheck"}


def _given(flag: str, value: object) -> list[str]:
    return [] if value in (None, "", False) else [flag] if value is True else [flag, str(value)]


def _identity(spec: ContainerSpec) -> Iterator[str]:
    for flag, value in (
        ("--name", spec.name), ("-t", spec.tty), ("-i", spec.stdin), ("--init", spec.init), ("--user", spec.user),
        ("--workdir", spec.workdir), ("--hostname", spec.hostname), ("--domainname", spec.domainname),
    ):  # fmt: skip
        yield from _given(flag, value)
    for entry in spec.env:
        yield from ("--env", entry)
    for name, value in spec.labels.items():
        yield from ("--label", f"{name}={value}")


def _limits(limits: Limits) -> Iterator[str]:
    swap = limits.memory_swap_bytes
    for flag, value in (
        ("--memory", limits.memory_bytes and size(limits.memory_bytes)),
        ("--memory-swap", None if swap is None else "-1" if swap == -1 else size(swap)),
        ("--cpus", limits.cpus and number(limits.cpus)), ("--pids-limit", limits.pids),
        ("--cpu-shares", limits.cpu_shares), ("--cpuset-cpus", limits.cpuset_cpus),
        ("--cpuset-mems", limits.cpuset_mems), ("--blkio-weight", limits.io_weight),
    ):  # fmt: skip
        if value is not None and str(value).startswith("-"):
            yield f"{flag}={value}"
        else:
            yield from _given(flag, value)
    for each in limits.io:
        for kind, rate in disk(each):
            yield from (f"--device-{kind}", rate)
    for pages in limits.huge_pages:
        yield from ("--hugetlb", f"{size(pages.page_bytes)}={size(pages.limit_bytes)}")


def _mounts(spec: ContainerSpec) -> Iterator[str]:
    for text in [*map(volume, spec.volumes), *map(bind, spec.binds)]:
        yield from ("--mount" if text.startswith(("type=", '"type=')) else "--volume", text)
    for each in spec.tmpfs:
        yield from ("--tmpfs", tmpfs(each))


def _sharing(spec: ContainerSpec) -> Iterator[str]:
    shared = spec.network is NetworkMode.CONTAINER
    yield from ("--network", spec.namespaces.network if shared else spec.network.value)
    for kind in ("pid", "ipc", "uts"):
        yield from _given(f"--{kind}", getattr(spec.namespaces, kind))
    yield from _given("--userns", spec.namespaces.user)


def _security(security: Security) -> Iterator[str]:
    yield from _given("--privileged", security.privileged)
    for flag, texts in (
        ("--cap-add", security.cap_add), ("--cap-drop", security.cap_drop), ("--device", map(device, security.devices)),
        ("--sysctl", (f"{name}={value}" for name, value in security.sysctls.items())),
        ("--ulimit", map(ulimit, security.ulimits)), ("--group-add", security.group_add),
    ):  # fmt: skip
        for text in texts:
            yield from (flag, text)
    if security.seccomp:
        yield from ("--security-opt", f"seccomp={'unconfined' if security.seccomp == 'unconfined' else PROFILE}")
    yield from _given("--read-only", security.read_only)
    if security.shm_bytes != Security().shm_bytes:
        yield from ("--shm-size", size(security.shm_bytes))
    yield from _given("--oom-score-adj", security.oom_score_adj or None)


def _upkeep(spec: ContainerSpec) -> Iterator[str]:
    if spec.restart.mode != "no":
        yield from ("--restart", str(spec.restart))
    if spec.health is not None and not spec.health.test:
        yield "--no-healthcheck"
    elif spec.health is not None:
        yield from ("--health-cmd", health(spec.health))
        usual = HealthCheck(())
        for field in ("interval_s", "timeout_s", "start_period_s", "start_interval_s"):
            if getattr(spec.health, field) != getattr(usual, field):
                flag = f"--health-{field.removesuffix('_s').replace('_', '-')}"
                yield from (flag, seconds(getattr(spec.health, field)))
        if spec.health.retries != usual.retries:
            yield from ("--health-retries", str(spec.health.retries))
    yield from _given("--stop-signal", spec.stop_signal)
    if spec.stop_timeout_s != ContainerSpec("").stop_timeout_s:
        yield f"--stop-timeout={number(spec.stop_timeout_s)}"


def _listed(options: list[str]) -> str:
    """As of --mount: comma-separated values (RFC 4180)."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(options)
    return text.getvalue()
