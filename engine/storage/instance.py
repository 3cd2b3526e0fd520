"""An instance: a store with an id, which names its control groups and owns ranges of user ids."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine import names
from engine.config import Config
from engine.errors import Busy, Corrupt, KernelError, Unavailable
from engine.linux import files, process
from engine.names import new_id
from engine.storage import atomic, documents, journal
from engine.storage.atomic import sync_directory, write_atomically
from engine.storage.paths import Paths

LAYOUT_VERSION = "1"
_ID = re.compile(r"[0-9a-f]{12}")

# Claims of all instances of this host. Beside, not inside, any instance's root: they must not overlap.
CLAIMS = Path("/var/lib/wharfie-uid-ranges")
FIRST_ID = 524_288  # Debian gives subordinate ids from 100000 up, a range of 65536 each; start above the first ones
IDS_PER_RANGE = 65_536
RANGES_PER_CLAIM = 256
LAST_ID = 2**32 - 2

SKELETON_DIRECTORIES = {"dev": 0o755, "etc": 0o755, "proc": 0o555, "sys": 0o555}
IDLE_LAUNCHER_S = 5.0  # a command's launcher ends by itself before that
ETC_FILES = ("hostname", "hosts", "resolv.conf")


def prepare(config: Config) -> Paths:
    """Make the instance's directories and id if they are not there yet; many processes may call it at once."""
    paths = Paths(config)
    try:
        for directory in (paths.root, paths.run):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (*paths.persistent(), *paths.volatile()):
            directory.mkdir(mode=0o700, exist_ok=True)
        with files.locked(str(paths.root / ".lock")):
            if paths.restored.exists():
                roll_forward(paths)
            _check(paths)
            _make_skeleton(paths.skeleton)
            _bind(paths)
            if not paths.instance.exists():
                files.spread(str(paths.containers))
                write_atomically(paths.version, LAYOUT_VERSION.encode())
                write_atomically(paths.instance, new_id()[:12].encode())
    except OSError as error:
        raise KernelError.from_os(
            error, "making Wharfie's directories", hint="run as root, on a writable disk"
        ) from error
    return paths


def roll_forward(paths: Paths) -> None:
    """Move a restored store into its place, name by name; what it replaces goes to the trash.

    Begun anew after a crash at any point, it ends in the same state. The caller holds the store's lock.
    """
    paths.trash.mkdir(mode=0o700, exist_ok=True)
    for new in sorted(paths.restored.iterdir()):
        place = paths.root / new.name
        old = [place]
        if new.suffix == ".db":  # first its log, which would be taken for the new one's
            old = [place.with_name(place.name + suffix) for suffix in ("-wal", "-shm", "")]
        for path in old:
            if os.path.lexists(path):
                path.rename(paths.trash / new_id())
        sync_directory(paths.root)
        new.rename(place)
    sync_directory(paths.root)
    paths.restored.rmdir()


def _check(paths: Paths) -> None:
    """Corrupt unless the store is new, or whole and of this layout. What is lost is never made anew beside the rest:
    another id would name other control groups and give up the claim of the ids that its files have."""
    backup = "restore it from a backup"
    if not paths.instance.exists() and not paths.database.exists():
        return
    for path in (paths.instance, paths.version):
        if not path.exists():
            raise Corrupt(f"{path} is missing", hint=backup)
    if not _ID.fullmatch(_text(paths.instance)):
        raise Corrupt(f"{paths.instance} is damaged", hint=backup)
    version = _text(paths.version)
    if version != LAYOUT_VERSION:
        raise Corrupt(
            f"{paths.root} has layout {version[:40]!r}, not {LAYOUT_VERSION}",
            hint="run the Wharfie that wrote it, or restore a backup if it is damaged",
        )
    known = paths.database.exists() and paths.database.stat().st_size
    if not known and any(map(names.OBJECT_ID.fullmatch, [*os.listdir(paths.containers), *os.listdir(paths.layers)])):
        raise Corrupt(f"{paths.database} is missing or empty, but what it tells of is there", hint=backup)


def _text(path: Path) -> str:
    """A short text file; what is no UTF-8 in it is replaced."""
    return path.read_text(errors="replace")


def _bind(paths: Paths) -> None:
    """One WHARFIE_RUN for a store: whoever looked in another one would take running containers for ended ones."""
    here = paths.run.resolve()
    bound = Path(_text(paths.bound)) if paths.bound.exists() else here
    if not bound.is_absolute() or "\0" in str(bound) or len(str(bound)) > 4096:
        raise Corrupt(
            f"{paths.bound} is damaged", hint="write the path of its WHARFIE_RUN into it; if nothing runs, delete it"
        )
    if bound != here and (is_locked(bound / "launcher.lock") or occupied(bound)):
        raise Busy(
            f"{paths.root} is in use with {bound} as WHARFIE_RUN, not {here}",
            hint=f"set WHARFIE_RUN={bound}, or stop its console and containers first",
        )
    if bound != here or not paths.bound.exists():
        write_atomically(paths.bound, os.fsencode(here))


def occupied(run: Path) -> bool:
    """Whether a container lives there, or is about to be started again by its shim."""
    for record in (run / "shims").glob("*.json"):
        try:
            facts = json.loads(record.read_bytes())
            pid, began = ("shim_pid", "shim_start_time") if facts.get("resting") else ("pid", "start_time")
            if facts["boot_id"] == process.boot_id() and process.start_time(facts[pid]) == facts[began]:
                return True
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # it ended, or is damaged
            continue
    return False


def _make_skeleton(top: Path) -> None:
    """Places for what every container gets: no start has to make them, and none shows as a container's change."""
    if top.exists():
        return
    new = top.with_name(".skeleton.new")
    for name, mode in SKELETON_DIRECTORIES.items():
        (new / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        (new / name).chmod(mode)
    for name in ETC_FILES:
        (new / "etc" / name).touch(mode=0o644)
        (new / "etc" / name).chmod(0o644)
    new.chmod(0o755)
    new.rename(top)


def instance_id(config: Config) -> str:
    """The id of the store at WHARFIE_ROOT; made when it has none."""
    return prepare(config).instance.read_text()


def tidy(paths: Paths) -> None:
    """Delete what was being written when somebody was killed."""
    with files.locked(str(paths.root / ".lock")):
        atomic.sweep(paths.root)
    if CLAIMS.exists():
        with files.locked(str(CLAIMS / ".lock")):
            atomic.sweep(CLAIMS)
    journal.forget(paths.tmp)


def is_locked(path: Path) -> bool:
    """Whether somebody holds it now."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that look do not see each other
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def alone(paths: Paths) -> Iterator[None]:
    """Nobody starts a container meanwhile: this process holds the lock of the launcher, which every console has.

    Busy when a console, a command or a container is at work on the store.
    """
    lock = os.open(paths.launcher_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _locked(lock)
        if occupied(paths.run):
            raise Busy("containers of this store run", hint="stop them first: `wharfie down`")
        yield
    except BlockingIOError:
        raise Busy(
            "a console or a command is at work on this store", hint="stop the console, and try again in a moment"
        ) from None
    finally:
        os.close(lock)


def _locked(lock: int) -> None:
    """Take it, waiting for a command's launcher that ends by itself; BlockingIOError when it is held for longer."""
    until_s = time.monotonic() + IDLE_LAUNCHER_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)


def claim(name: str, paths: Paths, more_than: int) -> list[int]:
    """First ids of the ranges that the instance ``name`` may use, at least ``more_than`` + 1 of them.

    A claim is a file named by the instance that says where its store is; one whose store is gone is void and removed.
    """
    root, mine = _claimed(name)
    if root == str(paths.root) and len(_ranges(mine)) > more_than:  # a claim only grows: no look at the others
        return _ranges(mine)
    CLAIMS.mkdir(mode=0o700, exist_ok=True)
    with files.locked(str(CLAIMS / ".lock")):
        taken = _subordinate_ids()
        root, mine = _claimed(name)
        known = len(mine)
        for file in CLAIMS.iterdir():
            if file.name == name or not _ID.fullmatch(file.name):
                continue
            other, bases = _claimed(file.name)
            if _alive(file.name, other):
                taken += [(base, RANGES_PER_CLAIM * IDS_PER_RANGE) for base in bases]
            else:
                file.unlink(missing_ok=True)
        width = RANGES_PER_CLAIM * IDS_PER_RANGE
        base = FIRST_ID
        while len(_ranges(mine)) <= more_than:
            if base + width > LAST_ID:
                raise Unavailable("no range of user ids is left on this host", hint="remove containers")
            if base in mine or any(start < base + width and base < start + count for start, count in taken):
                base += width
                continue
            mine.append(base)
        if len(mine) > known or root != str(paths.root):
            write_atomically(CLAIMS / name, json.dumps({"root": str(paths.root), "bases": mine}).encode())
    return _ranges(mine)


def _ranges(bases: list[int]) -> list[int]:
    return [base + step * IDS_PER_RANGE for base in bases for step in range(RANGES_PER_CLAIM)]


def _claimed(name: str) -> tuple[str, list[int]]:
    """An instance's claim: where its store was then, and the bases. Corrupt when nobody can tell what it claims."""
    path = CLAIMS / name
    try:
        claim_ = documents.parse(path.read_bytes())
        return documents.build(str, claim_["root"]), list(documents.build(tuple[int, ...], claim_["bases"]))
    except FileNotFoundError:
        return "", []
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(
            f"{path}, a claim of user ids, is damaged",
            hint=f"restore it from a backup; if this host has no Wharfie whose id is {name}, delete it",
        ) from error


def release(name: str) -> None:
    """Give all ranges of an instance back: for a store that is about to be deleted. Again is no error."""
    CLAIMS.mkdir(mode=0o700, exist_ok=True)
    with files.locked(str(CLAIMS / ".lock")):
        (CLAIMS / name).unlink(missing_ok=True)


def _alive(name: str, root: str) -> bool:
    try:
        text = _text(Path(root) / "instance")
    except OSError:
        return False
    return text == name or not _ID.fullmatch(text)  # a damaged store still has its files


def _subordinate_ids() -> list[tuple[int, int]]:
    """(first, count) of each range of subuid(5) and subgid(5)."""
    found = []
    for path in ("/etc/subuid", "/etc/subgid"):
        try:
            lines = Path(path).read_text().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            parts = line.split(":")
            if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
                found.append((int(parts[1]), int(parts[2])))
    return found
