"""The facade: one short method for each thing a user does.

Several processes hold an Engine on the same directories at once (pages, command lines, jobs). There is no engine
daemon: they agree through state.db, file locks and the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from engine import names, policy
from engine.cgroups.counters import Counters
from engine.config import Config
from engine.containers import create, following, versions
from engine.containers.asked import asked
from engine.containers.browsing import Browsing
from engine.containers.census import Census
from engine.containers.execution import Executions
from engine.containers.files import Files
from engine.containers.filling import Filling
from engine.containers.lifecycle import Lifecycle
from engine.containers.limits import Limiting
from engine.containers.listing import Listing, listing
from engine.containers.logindex import Indexes
from engine.containers.logpages import LogPages
from engine.containers.logs import LogLine, LogTail, LogWatch
from engine.containers.pausing import Pausing
from engine.containers.pipes import Execution
from engine.containers.processes import Processes, ProcessWatch
from engine.containers.records import Records
from engine.containers.restarting import Restarting
from engine.containers.spec import (
    CommitSpec,
    Container,
    ContainerSpec,
    ExecSpec,
    ExitRecord,
    HealthResult,
    Limits,
    RestartPolicy,
    TerminalInfo,
    WaitFor,
)
from engine.containers.stopping import Patience, Stopping
from engine.containers.terminals import Terminal
from engine.containers.updating import Updating
from engine.containers.versions import Version
from engine.containers.waiting import Waiting
from engine.errors import Unavailable, only_engine_errors
from engine.events import Event, EventFilter, Events, Subscription
from engine.images.spec import Image
from engine.launcher.client import LauncherClient
from engine.metrics.sampler import Sampler, counters, several
from engine.metrics.spec import DiskUsage, Process, Sample, TreeSize
from engine.metrics.usage import size, usage
from engine.security.spec import ROOT, Caller
from engine.storage import instance
from engine.storage.database import Database
from engine.storage.paths import Paths
from engine.storage.trash import Trash
from engine.volumes.spec import Volume
from engine.volumes.store import VolumeStore

if TYPE_CHECKING:
    from engine.backup.manifest import Manifest
    from engine.containers.cloning import Cloning
    from engine.images.store import ImageStore
    from engine.linux.probe import Check, Report

Progress = Callable[[str], None]
SILENT: Progress = lambda _text: None  # noqa: E731
UNPACK_TIMEOUT_S = 3600.0


@only_engine_errors
class Engine:
    """Containers, images and volumes of one instance. Thread-safe; close it, or use it as a context manager.

    Copies of files, and what a container changed of its image, are acts of `files`; looking at single files and
    directories, and changing them, are those of `browse`. What happened stands in `event_log`, where others may write.

    With ``spawn_launcher`` a launcher is started when none answers; the web process leaves that to its supervisor.
    """

    def __init__(self, config: Config | None = None, *, spawn_launcher: bool = False) -> None:
        self.config = config or Config.from_environment()
        self.instance = instance.instance_id(self.config)
        self.paths = Paths(self.config)
        self._database = Database(self.paths.database)
        self.event_log = Events(self.paths, self._database)
        self._launcher = LauncherClient(self.config, self.instance, spawn=spawn_launcher)
        self._records = Records(self.instance, self.paths, self._database, self.event_log)
        self._census = Census(self.paths, self._database, self.event_log, self._records)
        self._trash = Trash(self.paths.trash)
        common = self.paths, self.event_log, self._records
        self._pausing = Pausing(self.instance, *common)
        self._waiting = Waiting(*common)
        self._restarting = Restarting(self.paths, self._records)
        self._stopping = Stopping(*common, self._pausing, self._waiting, self._restarting)
        self._processes = Processes(self.instance, self._records, self._stopping)
        self._limiting = Limiting(self.instance, self.paths, self._records)
        self._updating = Updating(self._database, self.event_log, self._records, self._limiting, self._restarting)
        self.files = Files(self.paths, self._records, self._launcher, self.image, self._unpack_base)
        self.browse = Browsing(self.files)
        self._lifecycle = Lifecycle(
            self.instance, self.paths, self._database, self.event_log, self._records, self._launcher, self._stopping,
            self._restarting, Filling(self.paths, self.files), self._trash,
        )  # fmt: skip
        self._executions = Executions(self.instance, self.paths, self.image, self._records)
        self._log_indexes = Indexes()
        self._sampler = Sampler(self.instance, self.event_log)
        self._volumes = VolumeStore(self.paths, self._database, self.event_log, self._trash)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what this object holds; containers run on."""
        for part in (self._trash, self._database, self._sampler):
            part.close()

    def tidy(self) -> None:
        """Clear away what a crash left half done; called once when the console starts."""
        create.tidy(self.paths, self._database)
        for part in (self._volumes, self._lifecycle, self._pausing, self._cloning):
            part.tidy()
        self._trash.empty()
        instance.tidy(self.paths)
        self._images.tidy()
        self._limiting.settle()

    def take_over(self) -> None:
        """Start a launcher where a container has lost its shim together with the launcher: it gets another one."""
        if self._records.orphaned():
            self._launcher.ensure()

    def revive(self) -> None:
        """Start what its restart policy wants to run, and does not: after a reboot. When the console starts."""
        self._restarting.revive(lambda found: self._lifecycle.start(found, self.image(found.image_id), wished=True))

    # Containers

    def check(self, spec: ContainerSpec) -> None:
        """InvalidRequest, naming the field, for what can never work, whoever asks."""
        policy.check(spec, ROOT)

    def create(self, spec: ContainerSpec, *, caller: Caller = ROOT) -> Container:
        """Create a container; it does not run yet. Denied for what is not for the caller."""
        parts = self.instance, self.paths, self._database, self.event_log, self.image, self._records.find
        return self._records.find(create.create(*parts, spec, caller))

    def start(self, ref: str) -> Container:
        """Start a container; on return its command has been executed."""
        container = self._records.find(ref)
        self._lifecycle.start(container, self.image(container.image_id))
        return self._records.find(container.id)

    def stop(
        self, ref: str, timeout_s: float | None = None, *, caller: Caller = ROOT, patience: Patience | None = None
    ) -> Container:
        """Stop a container: its stop signal, then after ``timeout_s`` (default: its own; -1: never) SIGKILL.
        ``patience`` is called each second meanwhile; what it raises ends the wait, and no SIGKILL comes."""
        container = self._records.find(ref)
        self._stopping.stop(container, timeout_s, caller, patience)
        return self._records.find(container.id)

    def kill(self, ref: str, signal: str | int = "KILL", *, caller: Caller = ROOT) -> None:
        """Send a signal to a container's first process; a paused one goes on, to receive it."""
        self._stopping.signal(self._records.find(ref), names.signal_number(signal), caller)

    def restart(
        self, ref: str, timeout_s: float | None = None, *, caller: Caller = ROOT, patience: Patience | None = None
    ) -> Container:
        """Stop a container as `stop` does, and start it again: the same id, files and log."""
        container = self._records.find(ref)
        self._lifecycle.restart(container, self.image(container.image_id), timeout_s, caller, patience)
        return self._records.find(container.id)

    def pause(self, ref: str) -> None:
        """Freeze a container; on return none of its processes runs."""
        self._pausing.pause(self._records.find(ref))

    def unpause(self, ref: str) -> None:
        """Let a paused container go on."""
        self._pausing.unpause(self._records.find(ref))

    def rename(self, ref: str, name: str, *, caller: Caller = ROOT) -> None:
        """Give a container another name, running or not."""
        self._updating.update(self._records.find(ref), caller, name=names.container_name(name), change="rename")

    def update(
        self, ref: str, limits: Limits | None = None, restart: RestartPolicy | None = None, *, name: str = "",
        caller: Caller = ROOT,
    ) -> Container:  # fmt: skip
        """Change limits, at once if it runs, restart policy and name: all that is given, or nothing. None stays."""
        container = self._records.find(ref)
        self._updating.update(container, caller, name=name, limits=limits, restart=restart)
        return self._records.find(container.id)

    def wait(self, ref: str, timeout_s: float | None = None) -> ExitRecord:
        """Wait until a container has ended, and say how. Unavailable after ``timeout_s``."""
        return self._waiting.not_running(self._records.find(ref), timeout_s)

    def wait_for(self, ref: str, condition: WaitFor, timeout_s: float | None = None) -> ExitRecord | None:
        """Wait for a condition; None when a container that never ran was removed. Unavailable after ``timeout_s``."""
        return self._waiting.until(self._records.find(ref), condition, timeout_s)

    def containers(self) -> list[Container]:
        """All containers, the newest first."""
        return self._records.all()

    def listing(
        self, text: str = "", states: Collection[str] = (), *, order: str = "created",
        figures: Mapping[str, float] | None = None, first: int = 0, count: int | None = None,
    ) -> Listing:  # fmt: skip
        """Those whose name, image or id holds ``text``, and in ``states``, if given: ``count`` of them from ``first``.
        Beside the states are starting and unhealthy, of one that runs, and failed, of one that has ended.

        ``order`` is created (the newest first), name or owner, with a - the other way round; or by ``figures``.
        """
        return listing(self._census, self._records, text, states, order, figures, first, count)

    def inspect(self, ref: str) -> Container:
        """One container, by name, id or unique prefix of an id."""
        return self._records.find(ref)

    def versions(self, ref: str) -> list[Version]:
        """What a container was asked to be, now and before each change: the newest, which is now, first."""
        return versions.versions(self._database, self._records.find(ref))

    def restore(self, ref: str, number: int, *, caller: Caller = ROOT) -> Container:
        """Give a container the name, limits and restart policy of an earlier version again."""
        container = self._records.find(ref)
        wanted = versions.version(self._database, container, number).spec
        limits = wanted.limits if wanted.limits != container.spec.limits else None
        self._updating.update(
            container, caller, name=wanted.name, limits=limits, restart=wanted.restart, change="restore", exactly=True
        )
        return self._records.find(container.id)

    def check_health(self, ref: str, *, caller: Caller = ROOT) -> HealthResult:
        """Run a container's health check now and say how it went; its status stays what its own checks say."""
        from engine.containers.checking import check

        return check(self._executions, self._records.find(ref), caller)

    def health_changes(self, ref: str, count: int = 50) -> list[Event]:
        """When a container's health became another one, the newest first; details have the status."""
        return self.event_log.of(self._records.find(ref).id, "health_status", count)

    def kills(self, ref: str) -> list[Event]:
        """The signals that somebody asked to be sent to a container's last run, the newest first; two at most. Their
        details are the signal, and by whom: "" from the command line."""
        since_ns = (container := self._records.find(ref)).started_at_ns or 0
        return [each for each in self.event_log.of(container.id, "kill", 2) if each.time_ns >= since_ns]

    def asked(self, ref: str) -> ContainerSpec:
        """A request that makes such a container again, without the defaults that were filled in."""
        container = self._records.find(ref)
        return asked(container, self.image(container.image_id))

    def environment(self, ref: str, *, caller: Caller = ROOT) -> tuple[str, ...]:
        """A container's variables with their values, which may be secrets: an event says who looked."""
        container = self._records.find(ref)
        policy.enter(container.spec, caller)
        self.event_log.publish("container", "reveal", container.id, container.name)
        return container.spec.env

    def recreate(
        self, ref: str, spec: ContainerSpec, *, caller: Caller = ROOT, patience: Patience | None = None
    ) -> tuple[Container, Container]:
        """Another container in the place of one: its name, its volumes, and it runs if that did. Returns both.
        The old one is stopped, as by `stop`, and kept as ``<name>-before-<n>``; when anything fails it is as it was."""
        from engine.containers.replacing import recreate

        return recreate(self, self._records.find(ref), spec, caller, patience)

    def remove(self, ref: str, *, force: bool = False, caller: Caller = ROOT) -> None:
        """Remove a container; with ``force`` a running one is killed first. Its volumes stay."""
        self._lifecycle.remove(self._records.find(ref), caller, force=force)

    def logs(
        self, ref: str, *, tail: int | None = None, follow: bool = False, since_ns: int | None = None
    ) -> Iterator[LogLine]:
        """A container's output, line by line; with ``follow`` until it ends. Blocks; for a page use `log_tail`."""
        return following.lines(self.paths, self._records, self.event_log, ref, tail, follow, since_ns)

    def log_bytes(self, ref: str) -> Iterator[tuple[str, int, bytes]]:
        """A container's output up to now as it was written: ("stdout" or "stderr", Unix time in ns, bytes)."""
        return following.written(self.paths, self._records.find(ref))

    def log_tail(self, ref: str, *, tail: int | None = None) -> LogTail:
        """A non-blocking reader of a container's output, from its last ``tail`` lines on (None: from the first)."""
        return LogTail(self.paths, self._records.find(ref).id, tail=tail)

    def log_pages(self, ref: str) -> LogPages:
        """A container's output in pages, forwards and backwards from any place, searched."""
        return LogPages(self.paths, self._records.find(ref).id, self._log_indexes)

    def log_watch(self) -> LogWatch:
        """Tells which of many logs have grown."""
        return LogWatch(self.paths)

    def commit(self, ref: str, spec: CommitSpec, *, caller: Caller = ROOT, progress: Progress = SILENT) -> Image:
        """Make an image of a container's files and settings. What ``progress`` raises ends it; nothing is left then."""
        return self._cloning.commits.commit(ref, spec, caller, progress)

    def clone(
        self, ref: str, name: str, *, key: str = "", caller: Caller = ROOT, progress: Progress = SILENT
    ) -> Container:
        """Another container like this one, with the same files and copies of its volumes; it does not run yet.
        What ``progress`` raises ends it; nothing is left then. Once more with that ``key`` it comes to the same end."""
        return self._cloning.clone(self._records.find(ref), name, key, caller, progress)

    @property
    def _cloning(self) -> Cloning:
        from engine.containers.cloning import Cloning

        parts = self._volumes, self._records, self.event_log, self.files, self._pausing, self._images
        return Cloning(self.paths, *parts, lambda spec, who: self.create(spec, caller=who))

    # Further commands in running containers

    def exec(self, ref: str, spec: ExecSpec, *, caller: Caller = ROOT) -> Execution:
        """Run a command in a running container, with pipes. On return it has been executed."""
        return self._executions.run(self._records.find(ref), spec, caller)

    def terminal(self, ref: str, spec: ExecSpec, *, caller: Caller = ROOT) -> Terminal:
        """Run a command in a running container, in a terminal of its own that outlives this connection to it."""
        return self._executions.terminal(self._records.find(ref), spec, caller)

    def input(self, ref: str, *, caller: Caller = ROOT) -> int:
        """A descriptor to type into a container's first process with; the caller closes it."""
        return self._executions.input(self._records.find(ref), caller)

    def attach(self, ref: str, session: str = "", *, caller: Caller = ROOT) -> Terminal:
        """Come back to an open terminal, or join another person in front of it; default: the first process's."""
        return self._executions.attach(self._records.find(ref), session, caller)

    def end_terminal(self, ref: str, session: str, *, caller: Caller = ROOT) -> None:
        """Hang up a terminal: SIGHUP to its program; asked again, one that ignored it is killed."""
        self._executions.end(self._records.find(ref), session, caller)

    def terminals(self, ref: str, *, caller: Caller = ROOT) -> list[TerminalInfo]:
        """A container's open terminals, the oldest first; Denied for who may not enter it."""
        return self._executions.open_terminals(self._records.find(ref), caller)

    # Processes

    def processes(self, ref: str, *, caller: Caller = ROOT) -> list[Process]:
        """A container's processes now, by pid; none when it does not run. Denied for who may not enter it."""
        return self.process_watch(ref, caller=caller).read()

    def process_watch(self, ref: str, *, caller: Caller = ROOT) -> ProcessWatch:
        """The same again and again, for less: what a process is called is asked once."""
        return self._processes.watch(self._records.find(ref), caller)

    def signal_process(self, ref: str, pid: int, start_time: int, signal: str | int, *, caller: Caller = ROOT) -> None:
        """Send a signal to one process, of that pid on the host and that start time. NotFound when it has ended, Denied
        for who may not enter the container. In a paused one it is acted on once that goes on, which the first
        process's lets it do at once, as `kill` does."""
        number = names.signal_number(signal)
        self._processes.signal(self._records.find(ref), pid, start_time, number, caller)

    # Images

    @cached_property
    def _images(self) -> ImageStore:
        from engine.images.store import ImageStore

        return ImageStore(self.paths, self._database, self._unpack, self.event_log.publish, self._trash)

    def _unpack(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        request = request | {"uid_base": self._unpack_base()}
        return self._launcher.call("unpack", request, fds, timeout_s=UNPACK_TIMEOUT_S)

    def _unpack_base(self) -> int:
        """The first id of the range that no container has."""
        return instance.claim(self.instance, self.paths, 0)[0]

    def images(self) -> list[Image]:
        """All images."""
        return self._images.list()

    def image(self, ref: str) -> Image:
        """One image, by tag, id or unique prefix of an id."""
        return self._images.get(ref)

    def load_image(
        self, source: Path | BinaryIO, *, name: str = "", progress: Progress | None = None, caller: Caller = ROOT
    ) -> list[Image]:
        """Import a `docker save` tar, an OCI layout tar or a root file system tar, compressed or not. Denied for a
        member who names a file of the host."""
        return self._images.load(policy.archive(source, caller), name=name, progress=progress)

    def make_starter_image(self, progress: Progress | None = None) -> Image:
        """Make ``wharfie/starter`` from this host's own Debian files, without any network."""
        from engine.images import starter

        return starter.make(self._images, progress)

    def remove_image(self, ref: str, *, force: bool = False) -> None:
        """Remove a tag, and the image with its last one; Busy while a container uses it."""
        self._images.remove(ref, force=force)

    # Volumes

    def volumes(self) -> list[Volume]:
        """All volumes, by name."""
        return self._volumes.list()

    def create_volume(self, name: str) -> Volume:
        """Make an empty volume."""
        return self._volumes.create(name)

    def remove_volume(self, name: str) -> None:
        """Delete a volume and its data."""
        self._volumes.remove(name)

    # All of it

    def backup(
        self, out: BinaryIO, *, images: bool = True, volumes: bool = True, progress: Progress = SILENT
    ) -> Manifest:
        """Write the whole store to ``out``, while containers run; `engine.backup.restore` takes it back."""
        from engine.backup.save import save

        return save(self.paths, out, images=images, volumes=volumes, progress=progress)

    # Facts

    def sample(self) -> dict[str, Sample]:
        """What each container that runs uses now, by id."""
        return self._sampler.sample(entry for entry in self._census.look() if entry.state.alive)

    def counters_of(self, ids: Iterable[str]) -> dict[str, Counters]:
        """All that the kernel counts of these containers, by id; without those that do not run."""
        return several(self.instance, ids)

    def counters(self, ref: str) -> Counters:
        """All that the kernel counts of a container that runs; WrongState when it does not."""
        return counters(self.instance, self._records.find(ref))

    def running(self) -> list[Container]:
        """The containers that run now, paused ones included."""
        ids = [entry.id for entry in self._census.look() if entry.state.alive]
        return [found for found in self._records.several(ids) if found.state.alive]

    def disk_usage(self) -> DiskUsage:
        """How many bytes of the disk all of it takes, by object. Looks at every file: it takes a while."""
        return usage(self.paths, self._database)

    def size(self, containers: Iterable[str] = (), volumes: Iterable[str] = (), timeout_s: float = 1.0) -> TreeSize:
        """What goes with these containers, by id, and volumes; counted now, as far as the time reaches."""
        tops = [self.paths.container(found.id) for found in self._records.several(list(containers))]
        tops += [self.paths.volume(each.name) for each in self._volumes.list() if each.name in set(volumes)]
        return size(tops, timeout_s)

    def findings(self) -> list[Check]:
        """What is wrong with this instance, and what to do."""
        from engine import doctor

        return doctor.examine(self.config)

    def ping(self) -> None:
        """Return at once when containers could be started; Unavailable when nobody would serve that."""
        self.event_log.last()
        if not instance.is_locked(self.paths.launcher_lock):
            raise Unavailable("no launcher serves", hint="start the console, or look at `wharfie doctor`")

    def report(self) -> Report:
        """What this host can do, in words."""
        from engine.linux import probe

        # By the launcher: it tries things in forked processes, and the web process, which has threads, never forks.
        return probe.from_wire(self._launcher.call("probe", {"root": str(self.paths.root)}))

    def events(self, after: int = 0) -> list[Event]:
        """What happened after a sequence number, oldest first."""
        return self.event_log.after(after)

    def find_events(self, wish: EventFilter, count: int = 100) -> list[Event]:
        """Those that a filter leaves, the newest first; the last ten thousand are kept."""
        return self.event_log.find(wish, count)

    def last_event(self) -> int:
        """The newest event's sequence number, when all that has ended is told of; 0 before the first."""
        return self._census.last_event()

    def subscribe(self) -> Subscription:
        """A descriptor that wakes when something happened in any process; close it."""
        return self.event_log.subscribe()
