"""Take a backup back: all of it or nothing.

The new store is made beside the old one, inside WHARFIE_ROOT, and compared with the manifest. One rename then says that
it counts; what follows only moves names, and is done by whoever opens the store next if this process cannot
(`engine.storage.instance.roll_forward`).
"""

from __future__ import annotations

import dataclasses
import gzip
import os
import re
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO, cast

from engine.archives.extract import IDS
from engine.archives.streams import DiskGuard, Hashed
from engine.archives.tar import READ_BYTES, Kind, Reader, printable
from engine.backup import manifest
from engine.backup.manifest import Manifest, damaged
from engine.backup.unpack import ALL_IDS, Restorer
from engine.config import Config
from engine.containers.spec import ContainerSpec
from engine.errors import AlreadyExists, Corrupt, EngineError, KernelError
from engine.linux.files import syncfs
from engine.names import DIGEST, OBJECT_ID, VOLUME_NAME, new_id
from engine.security.spec import HOST
from engine.storage import atomic, documents, instance, snapshots
from engine.storage.database import MIGRATIONS, lenient_text
from engine.storage.paths import Paths
from engine.storage.trash import Trash

Progress = Callable[[str], None]
_STAGES = ".restoring-"


def restore(config: Config, source: BinaryIO, *, force: bool, progress: Progress) -> Manifest:
    """Replace the store at WHARFIE_ROOT by a backup. It keeps its own id, so containers get ranges of user ids here.

    AlreadyExists when it holds something and not ``force``; Busy while a console or a container uses it; Corrupt when
    the backup is damaged. On any error the store is as it was.
    """
    paths = instance.prepare(config)
    with instance.alone(paths):
        if not force and _holds_something(paths):
            raise AlreadyExists(
                f"{paths.root} holds images, containers or accounts already",
                hint="restore into another WHARFIE_ROOT, or replace all of it with --force",
            )
        for left in paths.root.glob(f"{_STAGES}*"):
            atomic.discard(left, paths.trash)
        stage = paths.root / f"{_STAGES}{new_id()[:12]}"
        stage.mkdir(mode=0o700)
        try:
            told = _Stage(paths, stage, progress).fill(source)
            descriptor = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                syncfs(descriptor)
            finally:
                os.close(descriptor)
            stage.rename(paths.restored)
        except OSError as error:
            raise KernelError.from_os(error, "restoring the backup", hint="nothing was changed") from error
        finally:
            atomic.discard(stage, paths.trash)
        atomic.sync_directory(paths.root)
        instance.prepare(config)  # moves it in
    trash = Trash(paths.trash)
    trash.empty()
    trash.close()
    return told


def _holds_something(paths: Paths) -> bool:
    if paths.console_database.exists():
        return True
    if not paths.database.exists():
        return False
    try:
        with closing(sqlite3.connect(paths.database)) as database:
            return any(
                database.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()
                for table in ("images", "containers", "volumes")
            )
    except sqlite3.Error:  # damaged: whoever wants to save something of it must be asked
        return True


class _Stage:
    """The new store while it is made."""

    def __init__(self, paths: Paths, stage: Path, progress: Progress) -> None:
        self._live = paths
        self._paths = Paths(Config(stage, paths.run))
        self._say = progress
        self._guard = DiskGuard(stage)
        self._digests: dict[str, str] = {}
        self._bases: dict[str, tuple[int, int]] = {}  # of each container: what its ids begin at, as saved, as restored
        self._hosts: set[str] = set()  # containers in the host's user namespace
        self._layers: set[str] = set()
        self._volumes: set[str] = set()

    def fill(self, source: BinaryIO) -> Manifest:
        """Make all of it, from a backup that turns out to be whole; else raises."""
        for directory in (self._paths.layers, self._paths.containers, self._paths.volumes):
            directory.mkdir(mode=0o700)
        told: Manifest | None = None
        reader = Reader(source)
        for entry in reader:
            name = entry.label
            if told is not None or entry.kind is not Kind.FILE or name in self._digests:
                raise damaged(f"{name} has no place in it")
            if name == manifest.NAME:
                if entry.size > manifest.MAX_BYTES:
                    raise damaged("its manifest is too large")
                told = Manifest.from_json(b"".join(reader.chunks()))
                continue
            member = Hashed(_Member(reader))
            self._take(name, member)
            while member.read(READ_BYTES):
                continue
            self._digests[name] = member.digest.removeprefix("sha256:")
        if told is None:
            raise damaged("it ends without its manifest")
        if told.members != self._digests:
            wrong = [name for name in told.members | self._digests if told.members.get(name) != self._digests.get(name)]
            raise damaged(f"{printable(wrong[0].encode())} is not what was saved")
        self._complete()
        return told

    def _take(self, name: str, member: Hashed) -> None:
        if name in manifest.DATABASES:
            self._file(self._paths.root / name, member)
            if found := snapshots.faults(self._paths.root / name):
                raise damaged(f"{name}: {found[0]}")
            if name == "state.db":
                self._state()
            return
        if not self._digests:
            raise damaged("it does not begin with state.db")
        self._say(name)
        if name == manifest.CONFIG:
            self._config(member)
            return
        kind, key = manifest.tree(name) or ("", "")
        if kind == "layers" and key in self._layers:
            self._tree(self._paths.layers / key, member)
        elif kind == "volumes" and key in self._volumes:
            self._paths.volume(key).parent.mkdir(mode=0o755)
            self._tree(self._paths.volume(key), member, ids=ALL_IDS if self._hosts else IDS)
        elif kind == "containers" and key in self._bases:
            old, new = self._bases[key]
            self._tree(self._paths.container(key), member, old, new, ids=ALL_IDS if key in self._hosts else IDS)
        else:
            raise damaged(f"{name} has no place in it")

    def _file(self, path: Path, member: Hashed) -> None:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            while data := member.read(READ_BYTES):
                self._guard(len(data))
                file.write(data)

    def _tree(self, place: Path, member: Hashed, old_base: int = 0, new_base: int = 0, ids: int = IDS) -> None:
        place.mkdir(mode=0o700)
        root = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            reader = Reader(_Gunzipped(member, self._guard), entries=2**63)  # a digest and the disk's guard bound it
            Restorer(root, reader, old_base=old_base, new_base=new_base, ids=ids).run()
        finally:
            os.close(root)

    def _config(self, member: Hashed) -> None:
        scratch = self._paths.root / "config"
        self._tree(scratch, member)
        for name in manifest.CONFIG_NAMES:
            if os.path.lexists(scratch / name):
                os.rename(scratch / name, self._paths.root / name)
        atomic.discard(scratch, self._live.trash)

    def _state(self) -> None:
        """What there is; and ranges of user ids of this instance, the same ones where it has them."""
        try:
            with closing(sqlite3.connect(self._paths.database, isolation_level=None)) as database:
                database.text_factory = lenient_text
                self._judge(database)
                self._move_ids(database)
        except sqlite3.Error as error:
            raise damaged(f"state.db: {error}") from error

    def _judge(self, database: sqlite3.Connection) -> None:
        """What becomes a path is a name, and nothing in it acts when rows are changed."""
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise Corrupt(
                f"the backup has schema {version} of a newer Wharfie; this one knows {len(MIGRATIONS)} at most",
                hint="restore it with the newer one",
            )
        if database.execute("SELECT 1 FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone():
            raise damaged("state.db has a trigger or a view")
        diff_ids = database.execute("SELECT diff_id FROM layers")
        self._layers = {_judged(row[0], DIGEST).removeprefix("sha256:") for row in diff_ids}
        self._volumes = {_judged(row[0], VOLUME_NAME) for row in database.execute("SELECT name FROM volumes")}

    def _move_ids(self, database: sqlite3.Connection) -> None:
        own: dict[str, int] = {}
        specs: dict[str, ContainerSpec] = {}
        for key, base, text in database.execute("SELECT id, uid_base, spec FROM containers"):
            own[_judged(key, OBJECT_ID)] = _base(base)
            with suppress(ValueError):  # damaged as it was; its files are its own
                specs[key] = documents.load(ContainerSpec, text if isinstance(text, str) else "")
        for spec in specs.values():
            for volume in spec.volumes:
                _judged(volume.volume, VOLUME_NAME)
        hosts = {key for key, spec in specs.items() if spec.namespaces.user == HOST}
        shared = {
            key: _base(spec.namespaces.uid_base)
            for key, spec in specs.items()
            if spec.namespaces.uid_base is not None and key not in hosts
        }
        bases = {*own.values(), *shared.values()}
        ranges = instance.claim(self._live.instance.read_text(), self._live, len(bases) + 1)[1:]
        free = iter(sorted(set(ranges) - bases))
        moved = {base: base if base in ranges else next(free) for base in sorted(bases)}
        used = own | shared
        self._bases = {key: (0, 0) if key in hosts else (base, moved[base]) for key, base in used.items()}
        self._hosts = hosts
        database.execute("BEGIN")
        for sign in (-1, 1):  # unique at each step
            places = [(sign * moved[base], key) for key, base in own.items()]
            database.executemany("UPDATE containers SET uid_base = ? WHERE id = ?", places)
        for key, base in shared.items():
            namespaces = dataclasses.replace(specs[key].namespaces, uid_base=moved[base])
            text = documents.dump(dataclasses.replace(specs[key], namespaces=namespaces))
            database.execute("UPDATE containers SET spec = ? WHERE id = ?", (text, key))
        database.execute("COMMIT")

    def _complete(self) -> None:
        """Directories of what was left out, or was removed while the backup was made."""
        if not self._digests:
            raise damaged("it holds nothing")
        for key, (_old, base) in self._bases.items():
            place = self._paths.container(key)
            for name, mode in (("", 0o700), ("upper", 0o755), ("work", 0o700), ("log", 0o700)):
                if not (place / name).exists():
                    (place / name).mkdir(mode=mode)
                    if name == "upper":
                        os.chown(place / name, base, base)
        for name in self._volumes:
            self._paths.volume(name).mkdir(mode=0o755, parents=True, exist_ok=True)


def _judged(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise damaged(f"state.db: {printable(repr(value).encode())[:80]} is no name of anything")
    return value


def _base(value: object) -> int:
    if type(value) is not int or not 0 <= value < ALL_IDS:
        raise damaged("state.db: a user id is none")
    return value


class _Member:
    """The data of the entry that a reader stands at, as a source."""

    def __init__(self, reader: Reader) -> None:
        self._chunks = reader.chunks()
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; b"" at the end."""
        self._rest = self._rest or next(self._chunks, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


class _Gunzipped:
    """What a gzip stream holds; the disk is looked at with every piece."""

    def __init__(self, member: Hashed, guard: DiskGuard) -> None:
        self._file = gzip.GzipFile(fileobj=cast(BinaryIO, member), mode="rb")
        self._guard = guard

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; b"" at the end."""
        try:
            data = self._file.read(size)
        except EngineError:
            raise
        except (OSError, EOFError, zlib.error) as error:
            raise damaged(f"a tree in it cannot be decompressed: {error}") from error
        self._guard(len(data))
        return data
