"""Who asks, and what of isolation may be opened or closed for one container. Plain, frozen data."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from engine.errors import InvalidRequest

HOST = "host"  # of a namespace: the host's
CONTAINER = "container:"  # of a namespace: that of the container whose name or id follows

UNCONFINED = "unconfined"  # instead of a profile: no filter
SHM_BYTES = 64 * 2**20


class Role(enum.StrEnum):
    """What a person may ask of the engine; `engine.policy` holds the list."""

    ADMIN = "admin"  # everything, what touches the host included
    MEMBER = "member"  # containers that keep every default of isolation


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. The command line is the host's root, and so an admin."""

    role: Role = Role.ADMIN
    name: str = ""


ROOT = Caller()


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Whose namespaces a container lives in: "" its own, "host", or "container:ID". namespaces(7)"""

    pid: str = ""
    ipc: str = ""  # with /dev/shm
    uts: str = ""  # no other container's
    user: str = ""  # no other container's; with the host's, root inside is uid 0 of the host
    network: str = ""  # another container's, with `NetworkMode.CONTAINER`
    uid_base: int | None = None  # filled in: host uid of its root, where that is not of a range of its own

    def container(self, kind: str) -> str:
        """Whose namespace of this kind it shares: a name or id, or ""."""
        value: str = getattr(self, kind)
        return value.removeprefix(CONTAINER) if value.startswith(CONTAINER) else ""


@dataclass(frozen=True, slots=True)
class Device:
    """A device file of the host, and where and how the container may use it."""

    source: str  # its path on the host, below /dev
    target: str  # its path in the container, below /dev
    access: str = "rwm"  # of r read, w write, m mknod(2), which the container's user namespace refuses anyway

    @classmethod
    def parse(cls, text: str) -> Device:
        """``/dev/fuse``, ``/dev/fuse:/dev/other``, ``/dev/fuse:rw`` or all three; else InvalidRequest."""
        source, *rest = text.split(":")
        access = rest.pop() if rest and not rest[-1].startswith("/") else "rwm"
        target = rest.pop() if rest else source
        if rest or not access or set(access) - set("rwm") or len(set(access)) != len(access):
            raise InvalidRequest(
                f"{text!r} is not a device", hint="write it like /dev/fuse or /dev/fuse:/dev/fuse:rw", field="devices"
            )
        return cls(source, target, access)


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A resource limit of the container's processes; getrlimit(2). -1: none."""

    name: str  # of RLIMIT_*, in lower case, as nofile
    soft: int
    hard: int

    @classmethod
    def parse(cls, text: str) -> Ulimit:
        """``nofile=1024`` or ``nofile=1024:4096``, ``unlimited`` for none; else InvalidRequest."""
        name, sign, value = text.partition("=")
        soft, _, hard = value.partition(":")
        try:
            numbers = [-1 if word in ("unlimited", "-1") else _natural(word) for word in (soft, hard or soft)]
        except ValueError:
            sign = ""
        if not name or not sign:
            raise InvalidRequest(
                f"{text!r} is not a limit", hint="write it like nofile=1024 or nofile=1024:4096", field="ulimits"
            )
        return cls(name, *numbers)


def _natural(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise ValueError(word)
    return int(word)


@dataclass(frozen=True, slots=True)
class Security:
    """What a container may do beyond, or short of, the default. `engine.policy` says who may ask for what."""

    privileged: bool = False  # every capability, inside its user namespace; never the host's uid 0
    cap_add: tuple[str, ...] = ()  # as NET_ADMIN, or ALL
    cap_drop: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    seccomp: str = ""  # a profile in Docker's JSON format, or "unconfined"; "" is the default filter
    sysctls: dict[str, str] = field(default_factory=dict)  # of its own namespaces only
    ulimits: tuple[Ulimit, ...] = ()
    read_only: bool = False  # its root file system
    shm_bytes: int = SHM_BYTES  # the size of /dev/shm
    oom_score_adj: int = 0  # 0 to 1000: the higher, the sooner it is killed when memory runs out
    group_add: tuple[str, ...] = ()  # names or numbers
