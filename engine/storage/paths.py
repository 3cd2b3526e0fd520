"""Every path that the engine uses, in one class. Nobody else joins them.

WHARFIE_ROOT (0700, persists)          WHARFIE_RUN (0700, gone at reboot)
 ├─ instance      id of this store       ├─ launcher.sock, .lock, .log; groups.lock, terminals.lock
 ├─ version       of the layout
 ├─ run           which WHARFIE_RUN goes with it          ├─ shims/<id>.sock     a container's control socket
 ├─ state.db      what the engine knows  ├─ shims/<id>.json     its running init (pid, start time, boot id)
 ├─ console.db    Django's tables        ├─ events/<pid>.sock   one datagram socket per watching process
 ├─ boot          in which containers were last started again
 ├─ skeleton/     the lowest layer of all roots: what mounts and files are put on
 ├─ layers/<hex>/ unpacked layers        ├─ rootfs/             the empty directory that roots are moved onto
 ├─ containers/<id>/                      └─ address              where the console serves
 │    upper/ work/  of the overlay     log/  segments
 │    exit.json     how it ended       restart   that it is to run again by itself
 ├─ volumes/<name>/data/
 ├─ console.log   what the web process had to say, its last MiB
 ├─ backups/      the databases as they were before migrations, and backups made on a page
 ├─ jobs/<id>/    the console's long work: log, lock, what was uploaded for it
 ├─ .restored/    a whole backup on its way in: whoever looks next moves the rest
 └─ trash/, tmp/  renamed away before deletion; being written
"""

from __future__ import annotations

from pathlib import Path

from engine.config import Config


class Paths:
    """The layout of one instance's directories."""

    def __init__(self, config: Config) -> None:
        self.root = config.root
        self.run = config.run
        self.instance = config.root / "instance"
        self.version = config.root / "version"
        self.bound = config.root / "run"
        self.database = config.root / "state.db"
        self.console_database = config.root / "console.db"
        self.console_log = config.root / "console.log"
        self.secret_key = config.root / "secret_key"
        self.boot = config.root / "boot"
        self.skeleton = config.root / "skeleton"
        self.layers = config.root / "layers"
        self.containers = config.root / "containers"
        self.volumes = config.root / "volumes"
        self.backups = config.root / "backups"
        self.jobs = config.root / "jobs"
        self.restored = config.root / ".restored"
        self.trash = config.root / "trash"
        self.tmp = config.root / "tmp"
        self.launcher_socket = config.run / "launcher.sock"
        self.launcher_lock = config.run / "launcher.lock"
        self.keeper_lock = config.run / "keeper.lock"
        self.custody = config.run / "custody.sock"
        self.groups_lock = config.run / "groups.lock"
        self.terminals_lock = config.run / "terminals.lock"
        self.address = config.run / "address"
        self.shims = config.run / "shims"
        self.events = config.run / "events"
        self.rootfs = config.run / "rootfs"

    def persistent(self) -> tuple[Path, ...]:
        """Directories below WHARFIE_ROOT that must exist."""
        return (self.layers, self.containers, self.volumes, self.trash, self.tmp)

    def volatile(self) -> tuple[Path, ...]:
        """Directories below WHARFIE_RUN that must exist."""
        return (self.shims, self.events, self.rootfs)

    def layer(self, diff_id: str) -> Path:
        """The unpacked tree of the layer whose uncompressed tar has this ``sha256:`` digest."""
        return self.layers / diff_id.removeprefix("sha256:")

    def container(self, container_id: str) -> Path:
        """A container's own directory."""
        return self.containers / container_id

    def container_lock(self, container_id: str) -> Path:
        """Held while a container is started or removed."""
        return self.containers / container_id / ".lock"

    def root_lock(self, container_id: str) -> Path:
        """Held by whoever has a container's root file system mounted beside its shim; see `engine.containers.roots`."""
        return self.containers / container_id / ".root"

    def log(self, container_id: str) -> Path:
        """The directory of a container's log segments."""
        return self.containers / container_id / "log"

    def exit_record(self, container_id: str) -> Path:
        """How a container's last run ended; written by its shim alone."""
        return self.containers / container_id / "exit.json"

    def shim_socket(self, container_id: str) -> Path:
        """A container's control socket."""
        return self.shims / f"{container_id}.sock"

    def terminal_socket(self, container_id: str, session: str) -> Path:
        """Where the terminal of a further command is attached to."""
        return self.shims / f"{container_id}.{session}.sock"

    def run_record(self, container_id: str) -> Path:
        """The running init of a container; written by its shim alone."""
        return self.shims / f"{container_id}.json"

    def request(self, container_id: str) -> Path:
        """What its starter was asked for, for as long as it runs: its shim starts it again by that."""
        return self.shims / f"{container_id}.request"

    def health_record(self, container_id: str) -> Path:
        """How its health checks went; written by those alone."""
        return self.shims / f"{container_id}.health"

    def restart(self, container_id: str) -> Path:
        """The wish that a container be started again when it has ended; `engine.shim.restarts`."""
        return self.containers / container_id / "restart"

    def volume(self, name: str) -> Path:
        """The directory whose content a volume is."""
        return self.volumes / name / "data"

    def volume_filling(self, name: str) -> Path:
        """There while a volume takes over an image's files; what a crash leaves says that they are not all there."""
        return self.volumes / name / "filling"
