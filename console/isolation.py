"""What opens or closes a container's isolation on the command line: Docker's flags."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path

from engine import Device, Namespaces, NetworkMode, Security, Ulimit, names
from engine.errors import InvalidRequest

LISTS = {  # flag, what it takes, and what it says
    "cap_add": ("CAPABILITY", "give root inside a capability, as NET_RAW, or ALL; inside its user namespace"),
    "cap_drop": ("CAPABILITY", "take one, or ALL, from root inside"),
    "device": ("DEVICE[:PATH][:rwm]", "let it use a device file of this host"),
    "group_add": ("GROUP", "let its processes be in a group, too"),
    "security_opt": ("OPTION", "seccomp=FILE, a profile in Docker's format, or seccomp=unconfined"),
    "sysctl": ("NAME=VALUE", "a kernel setting of its own namespaces, as net.core.somaxconn=1024"),
    "ulimit": ("NAME=SOFT[:HARD]", "as nofile=1024:4096; at most this host's own"),
}


def flags(command: argparse.ArgumentParser) -> None:
    """Add them."""
    option = command.add_argument
    option(
        "--network", "--net", default="none", metavar="none|host|container:NAME", help="none: loopback only (default)"
    )
    option("--privileged", action="store_true", help="every capability inside its user namespace; still no device")
    for flag, (takes, says) in LISTS.items():
        option(f"--{flag.replace('_', '-')}", action="append", default=[], metavar=takes, help=says)
    option("--pid", default="", metavar="host|container:NAME", help="see the processes of this host, or of another one")
    option("--ipc", default="", metavar="host|container:NAME", help="share memory with this host, or with another one")
    option("--uts", default="", metavar="host", help="have this host's name")
    option("--userns", default="", metavar="host", help="root inside is root of this host: for what cannot do without")
    option("--read-only", action="store_true", help="its root file system")
    option("--shm-size", metavar="SIZE", help="of /dev/shm; 64m")
    option("--oom-score-adj", type=int, default=0, metavar="N", help="0 to 1000: the higher, the sooner it is killed")
    option("--domainname", default="", metavar="NAME")


def network(options: Namespace) -> NetworkMode:
    """The kind of network."""
    kind = options.network.partition(":")[0]
    if kind not in set(NetworkMode) or (":" in options.network) != (kind == NetworkMode.CONTAINER):
        raise InvalidRequest(
            f"{options.network!r} is not a network", hint="use none, host or container:NAME", field="network"
        )
    return NetworkMode(kind)


def namespaces(options: Namespace) -> Namespaces:
    """Whose namespaces it shares."""
    other = options.network if network(options) is NetworkMode.CONTAINER else ""
    return Namespaces(
        pid=options.pid,
        ipc="" if options.ipc == "private" else options.ipc,
        uts=options.uts,
        user=options.userns,
        network=other,
    )


def security(options: Namespace) -> Security:
    """What it may do, and not. InvalidRequest for what cannot be read."""
    return Security(
        privileged=options.privileged,
        cap_add=tuple(options.cap_add),
        cap_drop=tuple(options.cap_drop),
        devices=tuple(map(Device.parse, options.device)),
        seccomp=_seccomp(options.security_opt),
        sysctls=_sysctls(options.sysctl),
        ulimits=tuple({limit.name: limit for limit in map(Ulimit.parse, options.ulimit)}.values()),
        read_only=options.read_only,
        oom_score_adj=options.oom_score_adj,
        group_add=tuple(options.group_add),
        **({"shm_bytes": names.size_bytes(options.shm_size, "shm_bytes")} if options.shm_size else {}),
    )


def _sysctls(lines: list[str]) -> dict[str, str]:
    try:
        return names.labels(lines)
    except InvalidRequest as error:
        wrong = next((line for line in lines if "=" not in line), lines[0])
        raise InvalidRequest(f"{wrong!r} is no kernel setting", hint="write NAME=VALUE", field="sysctls") from error


def _seccomp(options: list[str]) -> str:
    """The profile in the file that is named, ``unconfined``, or ""."""
    profile = ""
    for option in options:
        name, sign, value = option.replace(":", "=", "=" not in option).partition("=")
        if name == "no-new-privileges" and value in ("", "true"):
            continue  # it is always so
        if name != "seccomp" or not sign:
            raise InvalidRequest(
                f"there is no security option {option!r}",
                hint="there are seccomp=FILE and seccomp=unconfined; no-new-privileges is always on",
                field="seccomp",
            )
        profile = value if value in ("", "unconfined") else _text(Path(value))
    return profile


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = "it is no text"
        if isinstance(error, OSError):
            why = error.strerror or str(error)
        hint = "name a file with a profile in Docker's JSON format"
        raise InvalidRequest(f"{file} cannot be read: {why}", hint=hint, field="seccomp") from error
