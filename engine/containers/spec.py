"""What a caller asks for, and what the engine answers about a container. Plain, frozen data."""

from __future__ import annotations

import enum
import signal
import stat
from dataclasses import dataclass, field

from engine.errors import InvalidRequest
from engine.security.spec import Namespaces, Security
from engine.volumes.spec import BindMount, TmpfsMount, VolumeMount

_ASKED = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)


class State(enum.StrEnum):
    """The states of a container. Which act is legal in which: `engine.containers.state`."""

    CREATED = "created"  # never started
    RUNNING = "running"
    PAUSED = "paused"  # it runs, but its control group is frozen
    RESTARTING = "restarting"  # it has ended, and is about to be started again by its restart policy
    EXITED = "exited"  # started and ended; see ExitRecord
    BROKEN = "broken"  # its record cannot be read; it can only be removed

    @property
    def alive(self) -> bool:
        """Whether it runs, or will without being asked."""
        return self in (State.RUNNING, State.PAUSED, State.RESTARTING)


class NetworkMode(enum.StrEnum):
    """The network namespace that a container lives in."""

    NONE = "none"  # its own, with nothing but loopback
    HOST = "host"  # the host's
    CONTAINER = "container"  # another container's: `Namespaces.network` says whose


class RestartMode(enum.StrEnum):
    """When a container that has ended is started again; Docker's words."""

    NO = "no"
    ON_FAILURE = "on-failure"  # when its exit code is not 0
    ALWAYS = "always"  # until it is stopped; and at the next boot, even then
    UNLESS_STOPPED = "unless-stopped"  # until it is stopped; and at the next boot, unless it was


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Whether a container that has ended is started again, after 100 ms at first and twice as long each time, up to a
    minute; a run of 10 s begins that anew."""

    mode: RestartMode = RestartMode.NO
    most: int = 0  # on-failure: how many times; 0: as often as needed

    @classmethod
    def parse(cls, text: str) -> RestartPolicy:
        """``no``, ``on-failure``, ``on-failure:3``, ``always`` or ``unless-stopped``; else InvalidRequest."""
        mode, colon, most = text.partition(":")
        valid = mode in set(RestartMode) and (not colon or (mode == RestartMode.ON_FAILURE and most.isdecimal()))
        if not valid or len(most) > 9:
            raise InvalidRequest(
                f"{text!r} is not a restart policy",
                hint="use no, on-failure, on-failure:N, always or unless-stopped",
                field="restart",
            )
        return cls(RestartMode(mode), int(most or 0))

    def __str__(self) -> str:
        return f"{self.mode.value}:{self.most}" if self.most else self.mode.value


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A command that tells whether a running container is well: exit code 0."""

    test: tuple[str, ...]  # what is executed in the container; empty: none, even if the image has one
    interval_s: float = 30.0  # between two checks
    timeout_s: float = 30.0  # of one check, which is killed then and has failed
    start_period_s: float = 0.0  # after a start, in which a failure does not count until one check was well
    start_interval_s: float = 5.0  # between two checks in that period
    retries: int = 3  # failures in a row that make it unhealthy


class WaitFor(enum.StrEnum):
    """What to wait for; Docker's words (docker wait, API /containers/{id}/wait)."""

    NOT_RUNNING = "not-running"  # true at once of one that has ended
    NEXT_EXIT = "next-exit"  # the end of the present run, or of the next one when there is none
    REMOVED = "removed"


class EndedBy(enum.StrEnum):
    """Who ended a run."""

    ITSELF = "itself"  # its first process ended without being asked to
    ENGINE = "engine"  # a signal that the engine was asked to send: stop, kill, restart, remove
    OOM = "oom"  # the kernel's out-of-memory killer
    STRANGER = "stranger"  # a signal from elsewhere: another process of the container, or the host's root
    UNKNOWN = "unknown"  # nobody saw it


@dataclass(frozen=True, slots=True)
class IoLimit:
    """How fast one disk may be used. None and 0: no limit."""

    device: str  # a whole disk, as /dev/sda or 8:0; stored as major:minor
    read_bytes_per_s: int | None = None
    write_bytes_per_s: int | None = None
    reads_per_s: int | None = None
    writes_per_s: int | None = None


@dataclass(frozen=True, slots=True)
class HugePages:
    """How much of the host's huge pages of one size may be used."""

    page_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds. Of the first four None stands for the default of this host, filled in at create: they are always
    set. Of the others it stands for the kernel's default, and a host whose kernel lacks one refuses to start."""

    memory_bytes: int | None = None  # default: half of the host's memory
    memory_swap_bytes: int | None = None  # memory and swap together, -1 any; default: memory_bytes, so no swap
    cpus: float | None = None  # cores' worth of CPU time; default: all of the host's
    pids: int | None = None  # default: `engine.policy.DEFAULT_PIDS`
    cpu_shares: int | None = None  # weight beside others when CPUs are short; Docker's scale, 2 to 262,144
    cpuset_cpus: str | None = None  # which CPUs, as 0-2,4
    cpuset_mems: str | None = None  # which NUMA nodes
    io_weight: int | None = None  # weight beside others when a disk is short; Docker's scale, 10 to 1,000
    io: tuple[IoLimit, ...] = ()
    huge_pages: tuple[HugePages, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A request to create a container. None means: as the image says."""

    image: str  # reference or id
    name: str = ""  # "" lets the engine choose
    command: tuple[str, ...] | None = None  # replaces the image's Cmd
    entrypoint: tuple[str, ...] | None = None  # replaces the image's Entrypoint, and drops its Cmd
    env: tuple[str, ...] = ()  # NAME=value, added to the image's
    user: str | None = None  # name or uid, with :group or :gid
    workdir: str | None = None
    hostname: str = ""  # "" takes the first 12 digits of the id
    domainname: str = ""
    network: NetworkMode = NetworkMode.NONE
    namespaces: Namespaces = field(default_factory=Namespaces)
    security: Security = field(default_factory=Security)
    limits: Limits = field(default_factory=Limits)
    volumes: tuple[VolumeMount, ...] = ()
    binds: tuple[BindMount, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    stop_signal: str | None = None
    stop_timeout_s: float = 10.0  # -1: for ever
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    health: HealthCheck | None = None
    tty: bool = False  # its first process has a terminal, which shows both outputs
    stdin: bool = False  # its standard input stays open for those who attach; else it is /dev/null
    stdin_once: bool = False  # and ends when the first of them leaves
    init: bool = False  # a small program is PID 1, which passes signals on and reaps
    log_segment_bytes: int = 10 * 2**20
    log_segments: int = 3
    labels: dict[str, str] = field(default_factory=dict)


TOOLBOX_PLACE = "/container"  # where a toolbox shows the root of the container that it is in


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A request to run a further command in a running container. None means: as the container was created."""

    command: tuple[str, ...]
    env: tuple[str, ...] = ()  # NAME=value, added to the container's
    user: str | None = None  # name or uid, with :group or :gid
    workdir: str | None = None
    stdin: bool = True  # without a terminal: whether it gets a pipe, or /dev/null
    output: bool = True  # without a terminal: whether what it writes goes into pipes, or nowhere
    privileged: bool = False  # with every capability, as `Security.privileged`
    # In a root of the toolbox image's, with the container's own at `TOOLBOX_PLACE`: for an image without tools. None
    # means then: root, at that place; and its environment is the image's.
    toolbox: bool = False
    rows: int = 24  # of its terminal
    columns: int = 80


@dataclass(frozen=True, slots=True)
class CommitSpec:
    """A request to make an image of a container."""

    name: str = ""  # of the image; "" leaves it without one
    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()  # instructions such as ``CMD ["a"]``; see `engine.images.instructions`
    pause: bool = True  # while its files are read


@dataclass(frozen=True, slots=True)
class PathStat:
    """What a path in a container is; stat(2). Ids are the container's."""

    mode: int  # with the file type
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: str  # of a symbolic link: where it leads

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True, slots=True)
class TerminalInfo:
    """A terminal whose program runs."""

    session: str  # its id, to attach to it
    command: tuple[str, ...]
    user: str
    started_at_ns: int  # Unix time
    pid: int  # in the host's pid namespace
    toolbox: bool = False  # it stands in the toolbox's root, not the container's
    by: str = ""  # who opened it; "" the command line


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How a run ended. ``code`` is None when nobody could learn it: it is never invented."""

    code: int | None  # 0..255; 128+n when a signal ended it
    signal: int | None  # the signal that ended it, else None
    oom_killed: bool  # the kernel's out-of-memory killer struck in its cgroup
    finished_at_ns: int  # Unix time; when nobody saw the end, that of finding out
    reason: str = ""  # in words, when there is more to say
    oom_limit_bytes: int | None = None  # the limit that was hit; None with oom_killed: the host's own memory ran out
    asked_signal: int | None = None  # the last signal that the engine was asked to send to this run
    ended_by: EndedBy = EndedBy.UNKNOWN
    restarts: int = 0  # how often its policy had started it again by then

    @property
    def failed(self) -> bool:
        """Whether it was neither a success nor asked for: whoever stops a container sends TERM, and KILL then."""
        asked = self.signal in _ASKED or self.code in [128 + number for number in _ASKED]
        return self.oom_killed or self.code is None or (self.code != 0 and not asked)


@dataclass(frozen=True, slots=True)
class HealthResult:
    """How one health check went."""

    started_at_ns: int  # Unix time
    finished_at_ns: int
    code: int | None  # 0 is well; None: it took too long, and was killed
    output: str  # the first 4,096 bytes


@dataclass(frozen=True, slots=True)
class Health:
    """How well a container is, or was when it ended, by its own health check."""

    status: str  # starting, healthy, unhealthy
    failing_streak: int  # how many checks failed in a row
    results: tuple[HealthResult, ...]  # the last five, the oldest first


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the engine knows it now. ``state`` was asked of the kernel, not remembered."""

    id: str
    name: str
    image: str  # the reference it was created from
    image_id: str
    state: State
    created_at_ns: int  # Unix time
    started_at_ns: int | None  # of the current or last run
    pid: int | None  # of its init, in the host's pid namespace; only while running
    exit: ExitRecord | None  # of the last run, when it has ended
    spec: ContainerSpec  # as asked for, defaults filled in
    argv: tuple[str, ...]  # what runs: entrypoint and command
    uid_base: int  # host uid of the container's root
    broken: str = ""  # why, when state is BROKEN
    restarts: int = 0  # how often its policy has started it again since somebody started it
    health: Health | None = None  # of this run, or of the last as it ended; None without a check

    @property
    def short_id(self) -> str:
        """The first 12 digits of the id."""
        return self.id[:12]
