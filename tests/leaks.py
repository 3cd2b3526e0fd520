"""What a test run must not leave behind, and how to see it: two snapshots of the host, compared.

Several sessions may share a host. Each marks its processes with WHARFIE_TEST_SESSION (inherited through
the environment) and its directories with its number, so that one does not blame another: what belongs to
a living other session is left out of a snapshot.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

MARK = "WHARFIE_TEST_SESSION"
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
OURS = re.compile(
    rb"[^\0]*python[^\0]*\0(.*\0)?([^\0]*/)?(engine/launcher/__main__|manage|console/supervisor)\.py\0", re.DOTALL
)
NAME = "wharfie-t"  # a directory of session 12 begins with wharfie-t12-
FOREIGN_NAME = re.compile(rf"{NAME}(\d+)-")
TEMPORARY = ("/tmp", "/var/tmp", "/run", "/dev/shm")
UID_CLAIMS = Path("/var/lib/wharfie-uid-ranges")
CGROUPS = Path("/sys/fs/cgroup")

_ROWS = """
import sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
    if table not in ("events", "sqlite_sequence"):
        for row in connection.execute(f"SELECT * FROM {table}"):
            print(table, row)
"""

Snapshot = dict[str, set[str]]


def instance_groups(instance: str, container_id: str = "") -> list[Path]:
    """The control groups of an instance, or of a container of it, in every hierarchy."""
    name = f"wharfie-{instance}/{container_id}"
    return [group for group in (CGROUPS / name, *(path / name for path in CGROUPS.iterdir())) if group.exists()]


def session() -> int:
    """The number of this test session: the pid of its first process."""
    return int(os.environ.setdefault(MARK, str(os.getpid())))


def read(path: Path | str) -> bytes:
    """A file of /proc, or nothing when its process is gone."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    """Whether a process of this number runs."""
    return os.path.exists(f"/proc/{pid}")


def is_foreign_name(text: str) -> bool:
    """Whether a path or a name belongs to another session that still runs."""
    match = FOREIGN_NAME.search(text)
    return match is not None and int(match[1]) != session() and alive(int(match[1]))


class Host:
    """One look at the processes of the host, sorted into other sessions' and the rest."""

    def __init__(self) -> None:
        self.pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        self.parents = {pid: parent(pid) for pid in self.pids}
        self._foreign = {pid: self._marked_foreign(pid) for pid in self.pids}

    @staticmethod
    def _marked_foreign(pid: int) -> bool:
        if is_foreign_name(read(f"/proc/{pid}/cmdline").decode(errors="replace")):
            return True  # a launcher or a shim: its environment is clean, its arguments name its directories
        match = re.search(rb"(?:^|\0)WHARFIE_TEST_SESSION=(\d+)", read(f"/proc/{pid}/environ"))
        return match is not None and int(match[1]) != session() and alive(int(match[1]))

    def is_foreign(self, pid: int) -> bool:
        """Whether it or an ancestor carries another living session's mark (a container's own environment has none)."""
        while pid > 1:
            if self._foreign.get(pid):
                return True
            pid = self.parents.get(pid, 0)
        return False

    def processes(self) -> set[str]:
        """Processes of Wharfie: launchers, shims, consoles."""
        found: set[str] = set()
        for pid in self.pids:
            command = read(f"/proc/{pid}/cmdline")
            if OURS.match(command) and not self.is_foreign(pid) and pid != os.getpid() and b"pytest" not in command:
                found.add(f"{pid}: {command.replace(bytes(1), b' ').decode(errors='replace').strip()[:150]}")
        return found

    def namespaces(self) -> set[str]:
        """Namespaces that a process lives in."""
        found: set[str] = set()
        for pid in self.pids:
            for kind in NAMESPACES:
                try:
                    name = os.readlink(f"/proc/{pid}/ns/{kind}")
                except OSError:
                    continue  # ended, or a zombie
                if not self.is_foreign(pid):
                    found.add(name)
        return found

    def cgroups(self) -> set[str]:
        """Groups named wharfie…, in every hierarchy."""
        found: set[str] = set()
        for hierarchy in (CGROUPS, *(path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink())):
            for top in hierarchy.glob("wharfie*"):
                groups = [Path(where) for where, _directories, _files in os.walk(top)]
                members = [int(pid) for group in groups for pid in read(group / "cgroup.procs").split()]
                if not any(map(self.is_foreign, members)):
                    found.update(map(str, groups))
        return found

    def zombies(self) -> set[str]:
        """Processes that ended and that Wharfie, or this test, has not reaped."""
        ours = {int(line.partition(":")[0]) for line in self.processes()} | {os.getpid()}
        dead = [pid for pid in self.pids if self.parents[pid] in ours and state(pid) == "Z"]
        return {f"{pid}, child of {self.parents[pid]}" for pid in dead}

    def ports(self) -> set[str]:
        """TCP and UDP ports that Wharfie's processes listen at, in the network namespace of each."""
        found: set[str] = set()
        for line in self.processes():
            pid = int(line.partition(":")[0])
            held = {target[8:-1] for target in open_files(pid) if target.startswith("socket:[")}
            for kind, listening in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
                for fields in map(str.split, read(f"/proc/{pid}/net/{kind}").decode().splitlines()[1:]):
                    if fields[3] == listening and fields[9] in held:
                        found.add(f"{kind} {int(fields[1].rpartition(':')[2], 16)} of {pid}")
        return found


def state(pid: int) -> str:
    """R, S, D, Z and so on; "" when it is gone. proc_pid_stat(5)."""
    return read(f"/proc/{pid}/stat").rpartition(b")")[2].decode().strip()[:1]


def open_files(pid: int) -> Iterator[str]:
    """What the descriptors of a process lead to."""
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):  # closed, or its process has ended
            yield os.readlink(path)


def addresses() -> set[str]:
    """IP addresses of this network namespace."""
    trie = read("/proc/net/fib_trie").decode()
    found = {match[1] for match in re.finditer(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL", trie)}
    return found | {" ".join(line.split()[::5]) for line in read("/proc/net/if_inet6").decode().splitlines()}


def rules() -> set[str]:
    """Lines of the packet filter; none where there is no nft(8), for then nobody can have made any."""
    nft = shutil.which("nft")
    if nft is None:
        return set()
    done = subprocess.run([nft, "list", "ruleset"], stdout=subprocess.PIPE, text=True, check=False)
    return {line.strip() for line in done.stdout.splitlines() if line.strip() not in ("", "}")}


def threads() -> set[str]:
    """The threads of this process, Python's and others'."""
    return {f"{path.name} {read(path / 'comm').decode().strip()}" for path in Path("/proc/self/task").iterdir()}


def store(root: Path) -> Snapshot:
    """What an instance's store holds: rows of every table but the log of events, and what lies below its root."""
    # By another process: SQLite keeps descriptors of a file open while another connection of its process has locks.
    done = subprocess.run(
        [sys.executable, "-c", _ROWS, root / "state.db"], stdout=subprocess.PIPE, text=True, check=True
    )
    rows = set(done.stdout.splitlines())
    return {"row": rows, "blob": {str(path) for path in root.rglob("*") if not path.name.startswith("state.db")}}


def parent(pid: int) -> int:
    """The pid of a process's parent; 0 when it is gone."""
    fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def mounts() -> set[str]:
    """Mount points of this mount namespace, with what lies on them."""
    lines = read("/proc/self/mountinfo").decode().splitlines()
    return {" ".join((fields := line.split())[3:5] + fields[-3:-1]) for line in lines if not is_foreign_name(line)}


def descriptors() -> set[str]:
    """What this process has open, by number: ``7 -> pipe:[123]``. Terminals and /dev/null are nobody's leak."""
    found: set[str] = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue  # the descriptor that listed them
        if not target.startswith(("/dev/null", "/dev/pts", "/dev/tty", "/proc/")):
            found.add(f"{fd} -> {target}")
    return found


def names(directory: Path | str, pattern: str) -> set[str]:
    """Full names of a directory's matching entries, other sessions' left out."""
    return {str(path) for path in Path(directory).glob(pattern) if not is_foreign_name(path.name)}


def claims() -> set[str]:
    """Ranges of user ids that an instance has claimed on this host."""
    found: set[str] = set()
    for path in UID_CLAIMS.glob("[!.]*"):  # the lock file is the host's, as the directory is: no instance owns it
        owner = os.readlink(path) if path.is_symlink() else read(path).decode(errors="replace")
        if not is_foreign_name(owner):
            found.add(f"{path}: {owner.strip()}")
    return found


def loop_devices() -> set[str]:
    """Loop devices in use and the files behind them."""
    backing = ((path, read(path).decode().strip()) for path in Path("/sys/block").glob("loop*/loop/backing_file"))
    return {f"{path.parts[3]} -> {file}" for path, file in backing if not is_foreign_name(file)}


def host() -> Snapshot:
    """Everything on this host that a test run could leave behind."""
    seen = Host()
    return {
        "process": seen.processes(),
        "namespace": seen.namespaces(),
        "cgroup": seen.cgroups(),
        "mount": mounts(),
        "network link": names("/sys/class/net", "*"),
        "loop device": loop_devices(),
        "file": names("/dev/mqueue", "*").union(
            *(names(directory, "wharfie*") for directory in TEMPORARY),
            names("/var/tmp", f"{NAME}*-disk/wharfie*"),  # see tests.disk
            names("/var/lib", "wharfie"),
        ),
        "uid range": claims(),
        "zombie": seen.zombies(),
        "port": seen.ports(),
        "address": addresses(),
        "packet filter rule": rules(),
    }


def new(before: Snapshot, after: Snapshot) -> list[str]:
    """What the second snapshot has and the first had not, one line each."""
    return [f"{kind}: {entry}" for kind in after for entry in sorted(after[kind] - before.get(kind, set()))]


def remaining(before: Snapshot, look: Callable[[], Snapshot] = host, patience_s: float = 5.0) -> list[str]:
    """What is still there after waiting for what ends by itself a moment later."""
    until_s = time.monotonic() + patience_s
    while (found := new(before, look())) and time.monotonic() < until_s:
        wait_for_change(found)
    return found


def wait_for_change(found: Iterable[str]) -> None:
    """Wait for the end of a process that leaked, or a tenth of a second: nothing announces the end of a mount."""
    poll = select.poll()
    pidfds = []
    for line in found:
        if match := re.match(r"process: (\d+):", line):
            try:
                pidfds.append(os.pidfd_open(int(match[1])))
            except OSError:
                continue  # it has just ended
    try:
        for pidfd in pidfds:
            poll.register(pidfd, select.POLLIN)
        poll.poll(100)
    finally:
        for pidfd in pidfds:
            os.close(pidfd)
