"""cgroup v1, one hierarchy a controller; kernel documentation admin-guide/cgroup-v1/.

On a hybrid host the v2 hierarchy at /sys/fs/cgroup/unified has no controllers. Only the engine gets a group there, so
that it leaves its caller's; containers stay in that one, since moving into another one waits for an RCU grace period.
For the same reason containers have no figures of pressure here: the kernel keeps those by v2 group only.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from collections.abc import Sequence

from engine.cgroups import v1_limits
from engine.cgroups.counters import Counters, Cpu, Io, Memory, Oom, UnlessGone, keyed, read_number, read_text
from engine.cgroups.manager import ENGINE_GROUP
from engine.cgroups.meter import Meter, Place
from engine.cgroups.settings import Limits, busy, replace, write, write_text
from engine.linux import pidfds

MOUNT = "/sys/fs/cgroup"
CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "devices", "freezer", "cpuset", "blkio", "hugetlb")
UNIFIED = "unified"
CHARGE_BYTES = 64 * os.sysconf("SC_PAGE_SIZE")  # charged at once; mm/memcontrol.c MEMCG_CHARGE_BATCH
KILLED_AT_ONCE = 256  # descriptors that it takes
FREEZE_LOOK_S = 0.001  # the freezer announces nothing

# isolation.md I15: major:minor of what a container may open; nothing may be made with mknod outside of it.
DEVICES = (
    "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
    "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",
)  # fmt: skip


@functools.cache  # by the launcher for all its forks: a further command would ask ten times
def controllers() -> tuple[str, ...]:
    """Those that are here, each of which has a directory of its name under /sys/fs/cgroup."""
    return tuple(name for name in CONTROLLERS if os.path.isdir(f"{MOUNT}/{name}"))


@functools.cache
def hierarchies() -> tuple[str, ...]:
    """The hierarchies that the engine gets a group in, each by one such name: systemd mounts cpu and cpuacct as one, to
    which both names are links."""
    by_place: dict[str, str] = {}
    for name in controllers():
        by_place.setdefault(os.path.realpath(f"{MOUNT}/{name}"), name)
    present = list(by_place.values())
    if os.path.exists(f"{MOUNT}/{UNIFIED}/cgroup.procs"):
        present.append(UNIFIED)
    return tuple(present)


class Group:
    """A group of one name in every hierarchy; see `engine.cgroups.manager.Group`."""

    def __init__(self, instance: str, name: str) -> None:
        self._parent = f"wharfie-{instance}"
        self._name = name

    @functools.cached_property
    def _hierarchies(self) -> list[str]:
        return [each for each in hierarchies() if each != UNIFIED or self._name == ENGINE_GROUP]

    def _path(self, hierarchy: str, file: str = "") -> str:
        path = f"{MOUNT}/{hierarchy}/{self._parent}/{self._name}"
        return f"{path}/{file}" if file else path

    def create(self, *, confined: bool = True, devices: Sequence[str] = ()) -> None:
        """Make the group."""
        try:
            for hierarchy in self._hierarchies:
                try:
                    os.mkdir(self._path(hierarchy), 0o755)
                except FileNotFoundError:  # the instance's first
                    self._make_parent(hierarchy)
                    os.makedirs(self._path(hierarchy), 0o755, exist_ok=True)
                except FileExistsError:
                    if confined:
                        raise
            if confined:
                write_text(self._path("devices", "devices.deny"), "a")
                for rule in (*DEVICES, *devices):
                    write_text(self._path("devices", "devices.allow"), rule)
        except BaseException:
            self.remove()
            raise

    def _make_parent(self, hierarchy: str) -> None:
        parent = f"{MOUNT}/{hierarchy}/{self._parent}"
        os.makedirs(parent, 0o755, exist_ok=True)
        if hierarchy == "cpuset":  # a new one is empty and lets nobody in
            for file in ("cpuset.cpus", "cpuset.mems"):
                write_text(f"{parent}/{file}", read_text(f"{MOUNT}/cpuset/{file.replace('.', '.effective_')}"))
            write_text(f"{parent}/cgroup.clone_children", 1)  # those below begin with the same
        elif hierarchy == "blkio":
            v1_limits.count_io(parent)

    def limit(self, limits: Limits) -> None:
        """Set the limits of a new group."""
        write(v1_limits.settings(self._path, limits, fresh=True))

    def change(self, limits: Limits) -> None:
        """Set the limits of a group in use."""
        if int(read_text(self._path("pids", "pids.current"))) > limits["pids"]:
            raise busy(self._path("pids", "pids.max"))  # the kernel would take it, and refuse each new process
        replace(
            v1_limits.settings(self._path, limits, fresh=False)
        )  # memory: the kernel reclaims, and says EBUSY itself

    def add(self, pid: int) -> None:
        """Move a process in."""
        for hierarchy in self._hierarchies:
            write_text(self._path(hierarchy, "cgroup.procs"), pid)

    def birthplace(self) -> int | None:
        """Not on v1."""
        return None

    def doors(self) -> list[int]:
        """``tasks`` of each: ``0`` written there is the one move that needs no lock of all the host's processes
        (kernel/cgroup/cgroup.c, cgroup_procs_write_start)."""
        return [os.open(self._path(each, "tasks"), os.O_WRONLY | os.O_CLOEXEC) for each in self._hierarchies]

    def meter(self) -> Meter:
        """The few figures of a list."""
        return Meter(
            cpu=Place(self._path("cpuacct", "cpuacct.usage")),
            memory=Place(self._path("memory", "memory.usage_in_bytes")),
            inactive=Place(self._path("memory", "memory.stat"), b"total_inactive_file"),
            pids=Place(self._path("pids", "pids.current")),
            oom_kills=Place(self._path("memory", "memory.oom_control"), b"oom_kill"),
        )

    def counters(self) -> Counters:
        """Everything that the kernel counts."""
        memory = self._memory()
        return Counters(
            cpu=self._cpu(),
            memory=memory,
            io=self._io(),
            pids=read_number(self._path("pids", "pids.current")),
            oom_kills=self.oom().kills if memory else None,
            cpu_pressure=None,
            memory_pressure=None,
            io_pressure=None,
        )

    def _cpu(self) -> Cpu | None:
        if "cpuacct" not in controllers():
            return None
        quota = keyed(read_text(self._path("cpu", "cpu.stat"))) if "cpu" in controllers() else {}
        return Cpu(
            time_ns=int(read_text(self._path("cpuacct", "cpuacct.usage"))),
            user_ns=int(read_text(self._path("cpuacct", "cpuacct.usage_user"))),
            system_ns=int(read_text(self._path("cpuacct", "cpuacct.usage_sys"))),
            periods=quota.get("nr_periods"),
            throttled_periods=quota.get("nr_throttled"),
            throttled_ns=quota.get("throttled_time"),
        )

    def _memory(self) -> Memory | None:
        if "memory" not in controllers():
            return None
        stat = keyed(read_text(self._path("memory", "memory.stat")))
        held = int(read_text(self._path("memory", "memory.usage_in_bytes")))
        return Memory(
            working_set_bytes=max(0, held - stat["total_inactive_file"]),
            peak_bytes=read_number(self._path("memory", "memory.max_usage_in_bytes")),
            anon_bytes=stat["total_rss"],
            file_bytes=stat["total_cache"],
            inactive_file_bytes=stat["total_inactive_file"],
            kernel_bytes=read_number(self._path("memory", "memory.kmem.usage_in_bytes")),
            swap_bytes=stat.get("total_swap"),  # absent without swap accounting
        )

    def _io(self) -> Io | None:
        """blk-throttle's counters: they see every request, whether throttled or not, of devices as in `count_io`."""
        found = []
        for file in ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"):
            try:
                lines = [line.split() for line in read_text(self._path("blkio", file)).splitlines()]
            except FileNotFoundError:
                return None
            found += [sum(int(line[2]) for line in lines if line[1:2] == [kind]) for kind in ("Read", "Write")]
        return Io(*found)

    def oom(self) -> Oom:
        """What the out-of-memory killer did."""
        kills = keyed(read_text(self._path("memory", "memory.oom_control"))).get("oom_kill", 0)
        limit = None
        # Not by failcnt, which Linux 6.18 does not raise any more: the peak tells whether a limit was reached.
        for kind in ("memory.memsw", "memory") if kills else ():
            most = read_number(self._path("memory", f"{kind}.limit_in_bytes"))
            peak = read_number(self._path("memory", f"{kind}.max_usage_in_bytes"))
            if limit is None and most is not None and peak is not None and peak >= most - CHARGE_BYTES:
                limit = most
        return Oom(kills, limit)

    def freeze(self, timeout_s: float) -> None:
        """Stop all its processes."""
        path = self._path("freezer", "freezer.state")
        until = time.monotonic() + timeout_s
        write_text(path, "FROZEN")
        while read_text(path).strip() != "FROZEN":
            if time.monotonic() > until:
                write_text(path, "THAWED")
                raise TimeoutError(f"{path}: not all processes stand still")
            time.sleep(FREEZE_LOOK_S)
            write_text(path, "FROZEN")  # again, for those that were forked meanwhile

    def thaw(self) -> None:
        """Let them go on."""
        write_text(self._path("freezer", "freezer.state"), "THAWED")

    def frozen(self) -> bool:
        """Whether they are to stand still."""
        try:
            return read_text(self._path("freezer", "freezer.state")).strip() != "THAWED"
        except FileNotFoundError:
            return False

    def pids(self) -> list[int]:
        """The processes in it."""
        try:
            return [int(pid) for pid in read_text(self._path(self._hierarchies[0], "cgroup.procs")).split()]
        except FileNotFoundError:
            return []

    def kill(self) -> None:
        """SIGKILL to all in it, and to what they fork meanwhile. One that cannot die now is not waited for."""
        struck: set[int] = set()
        while new := [pid for pid in self.pids() if pid not in struck][:KILLED_AT_ONCE]:
            self._kill(new)
            struck.update(new)
            if self.frozen():  # a frozen task dies when it is thawed, and not before; it runs no instruction then
                with UnlessGone():
                    self.thaw()

    def _kill(self, pids: list[int]) -> None:
        """SIGKILL to these, and to nobody who has got such a number meanwhile.

        A descriptor stays with its process: when the number is still in the group after it was opened, it is of that
        process, or of one that has ended.
        """
        opened: dict[int, int] = {}
        try:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):  # it ended, as wished
                    opened[pid] = pidfds.of(pid)
            for pid in opened.keys() & set(self.pids()):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(opened[pid], signal.SIGKILL)
        finally:
            for descriptor in opened.values():
                os.close(descriptor)

    def remove(self) -> None:
        """Remove the empty group from every hierarchy."""
        for hierarchy in self._hierarchies:
            with UnlessGone():
                os.rmdir(self._path(hierarchy))
