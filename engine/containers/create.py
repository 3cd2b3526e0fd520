"""Create a container: a checked spec becomes a row and a directory."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import time
from collections.abc import Callable

from engine import hostpaths, names, policy
from engine.containers.limits import merge_io
from engine.containers.spec import Container, ContainerSpec, HealthCheck
from engine.errors import AlreadyExists, InvalidRequest, NotFound
from engine.events import Events
from engine.images.spec import Image
from engine.security.spec import CONTAINER, HOST, Caller, Namespaces
from engine.storage import atomic, documents, instance
from engine.storage.database import Database
from engine.storage.paths import Paths

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ADJECTIVES = [
    "brisk",
    "calm",
    "deft",
    "eager",
    "fair",
    "keen",
    "lucid",
    "merry",
    "nimble",
    "quiet",
    "ready",
    "sturdy",
    "tidy",
    "vivid",
    "warm",
]
_NOUNS = [
    "anchor",
    "barge",
    "buoy",
    "crane",
    "davit",
    "dock",
    "ferry",
    "hoist",
    "jetty",
    "keel",
    "lighter",
    "mooring",
    "pallet",
    "quay",
    "tug",
    "winch",
]


def create(
    instance_id: str,
    paths: Paths,
    database: Database,
    events: Events,
    image_of: Callable[[str], Image],
    container_of: Callable[[str], Container],
    spec: ContainerSpec,
    caller: Caller,
) -> str:
    """Make the container and return its id. Nothing is left when it fails.

    Raises Denied for what is not for the caller, InvalidRequest for the spec, NotFound for image, volume or a
    container whose namespaces it shares, AlreadyExists for the name.
    """
    policy.check(spec, caller)
    spec = dataclasses.replace(spec, namespaces=_shared(spec.namespaces, container_of))
    for bind in spec.binds:  # judged again at each start; now it can still be corrected
        os.close(hostpaths.source(bind.source, [str(paths.root), str(paths.run)], read_only=bind.read_only))
    image = image_of(spec.image)
    argv = _argv(spec, image)
    container_id = names.new_id()
    spec = _complete(spec, image, container_id)
    directory = paths.container(container_id)
    try:
        with database.transaction(durable=True) as connection:
            base = _uid_base(instance_id, paths, connection)
            spec = spec if spec.name else dataclasses.replace(spec, name=_free_name(connection, container_id))
            for volume in spec.volumes:
                if not connection.execute("SELECT 1 FROM volumes WHERE name = ?", (volume.volume,)).fetchone():
                    raise NotFound(
                        f"there is no volume {volume.volume!r}",
                        hint="create it first",
                        field="volumes",
                        subject=volume.volume,
                    )
            connection.execute(
                "INSERT INTO containers (id, name, image, image_id, spec, argv, uid_base, created_at_ns, created_by)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    container_id,
                    spec.name,
                    spec.image,
                    image.id,
                    documents.dump(spec),
                    json.dumps(argv),
                    base,
                    time.time_ns(),
                    caller.name,
                ),
            )
            connection.executemany(
                "INSERT INTO container_volumes VALUES (?, ?, ?)",
                [(container_id, volume.volume, volume.target) for volume in spec.volumes],
            )
            events.add(connection, "container", "create", container_id, spec.name)
            atomic.intend(directory, paths.trash)
            _directories(paths, container_id, base if spec.namespaces.uid_base is None else spec.namespaces.uid_base)
    except sqlite3.IntegrityError as error:
        if "containers.name" in str(error):
            raise AlreadyExists(
                f"the name {spec.name!r} is taken",
                hint="choose another, or remove that container",
                field="name",
                subject=spec.name,
            ) from error
        raise NotFound(f"the image {spec.image!r} has just been removed", field="image") from error
    except BaseException:
        atomic.discard(directory, paths.trash)
        atomic.agree(directory, paths.trash)
        raise
    atomic.agree(directory, paths.trash)
    events.wake()
    return container_id


def tidy(paths: Paths, database: Database) -> None:
    """Take away directories that a crash left before their row was there, or after it was gone."""
    with database.transaction() as connection:
        known = {row["id"] for row in connection.execute("SELECT id FROM containers")}
        atomic.settle(paths.containers, paths.trash, known)


def _free_name(connection: sqlite3.Connection, container_id: str) -> str:
    """A name for one that nobody has named. Among a thousand, two of a short one are the same sooner or later."""
    for digits in range(4, len(container_id)):
        name = f"{_pick(_ADJECTIVES)}-{_pick(_NOUNS)}-{container_id[:digits]}"
        if not connection.execute("SELECT 1 FROM containers WHERE name = ?", (name,)).fetchone():
            break
    return name


def _argv(spec: ContainerSpec, image: Image) -> tuple[str, ...]:
    """OCI image-spec config.md: Entrypoint, then Cmd as its arguments; a new entrypoint drops the image's Cmd."""
    entrypoint = image.config.entrypoint if spec.entrypoint is None else spec.entrypoint
    inherited = image.config.cmd if spec.entrypoint is None else ()
    argv = tuple(entrypoint) + tuple(inherited if spec.command is None else spec.command)
    if not argv or not argv[0]:
        hint = "its first word is empty: leave it out, or name a program" if argv else "the image names none: give one"
        raise InvalidRequest("there is no command to run", hint=hint, field="command")
    return argv


def _health(spec: ContainerSpec, image: Image) -> HealthCheck | None:
    """The request's, else the image's; None when the request turns it off."""
    check = image.config.health if spec.health is None else spec.health
    return check if check and check.test else None


def _complete(spec: ContainerSpec, image: Image, container_id: str) -> ContainerSpec:
    """The spec with every default but the name filled in, so that what runs can be read from it."""
    default = policy.default_limits()
    memory = spec.limits.memory_bytes or default.memory_bytes
    limits = dataclasses.replace(
        spec.limits,
        memory_bytes=memory,
        memory_swap_bytes=spec.limits.memory_swap_bytes or memory,
        cpus=spec.limits.cpus or default.cpus,
        pids=spec.limits.pids or default.pids,
        io=merge_io((), spec.limits.io),
    )
    host = HOST in (spec.network, spec.namespaces.uts)
    return dataclasses.replace(
        spec,
        limits=limits,
        env=names.environment(
            (f"PATH={DEFAULT_PATH}", *(("TERM=xterm",) if spec.tty else ()), *image.config.env, *spec.env)
        ),
        user=image.config.user if spec.user is None else spec.user,
        workdir=spec.workdir or image.config.workdir or "/",
        hostname=spec.hostname or (os.uname().nodename if host else container_id[:12]),
        stop_signal=spec.stop_signal or image.config.stop_signal or "SIGTERM",
        health=_health(spec, image),
    )


def _shared(wanted: Namespaces, container_of: Callable[[str], Container]) -> Namespaces:
    """With ids for the names of the containers that it shares namespaces with, and with its own user ids."""
    refs = {kind: wanted.container(kind) for kind in ("pid", "ipc", "network")}
    others = {kind: _other(kind, ref, container_of) for kind, ref in refs.items() if ref}
    bases = {found.uid_base for kind, found in others.items() if kind != "network"}
    host = 0 if wanted.user == HOST else None
    if len(bases) > 1:
        raise InvalidRequest(
            "processes and IPC of two containers cannot be shared at once", hint="share both with one", field="ipc"
        )
    if bases and (host == 0) != (0 in bases):
        raise InvalidRequest(
            "only one of the two has the host's user namespace", hint="let both have it, or none", field="userns"
        )
    ids = {kind: f"{CONTAINER}{found.id}" for kind, found in others.items()}
    return dataclasses.replace(wanted, **ids, uid_base=next(iter(bases), host))


def _other(kind: str, ref: str, container_of: Callable[[str], Container]) -> Container:
    try:
        return container_of(ref)
    except (NotFound, InvalidRequest) as error:
        error.field = kind
        raise


def _pick(words: list[str]) -> str:
    return words[int.from_bytes(os.urandom(2), "big") % len(words)]


def _uid_base(instance_id: str, paths: Paths, connection: sqlite3.Connection) -> int:
    """The lowest free range; range 0 is the unpack worker's."""
    used = {row[0] for row in connection.execute("SELECT uid_base FROM containers")}
    # Those of a removed container live on in one that was made to share its processes or IPC.
    shared = (
        "SELECT json_extract(spec, '$.namespaces.uid_base') FROM containers WHERE json_valid(spec) AND instr(spec, ?)"
    )
    used |= {row[0] for row in connection.execute(shared, (f'"{CONTAINER}',))}
    free = [base for base in instance.claim(instance_id, paths, len(used) + 1)[1:] if base not in used]
    return free[0]


def _directories(paths: Paths, container_id: str, base: int) -> None:
    directory = paths.container(container_id)
    directory.mkdir(mode=0o700)
    for name in ("upper", "work", "log"):
        (directory / name).mkdir(mode=0o755 if name == "upper" else 0o700)
    os.chown(directory / "upper", base, base)
    (directory / "upper").chmod(0o755)  # whatever our umask is: it becomes the container's /
    for lock in (paths.container_lock(container_id), paths.root_lock(container_id)):
        lock.touch(mode=0o600)  # a disk that has no room for them later must not forbid the removal
    atomic.sync_directory(paths.containers)
