"""cgroup v1, one hierarchy a controller; kernel documentation admin-guide/cgroup-v1/.

On a hybrid host the v2 hierarchy at /sys/fs/cgroup/unified has no controllers. Only the engine gets a group there, so
that it leaves its caller's; containers stay in that one, since moving into another one waits for an RCU grace period.
"""

from __future__ import annotations

import os
import signal

from engine.cgroups.manager import ENGINE_GROUP, Counters, keyed, read_text, write_text

MOUNT = "/sys/fs/cgroup"
CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "devices", "freezer")
UNIFIED = "unified"
CPU_PERIOD_US = 100_000

# isolation.md I15: major:minor of what a container may open; nothing may be made with mknod outside of it.
DEVICES = (
    "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
    "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",
)  # fmt: skip


def hierarchies() -> tuple[str, ...]:
    """The hierarchies that the engine gets a group in, as directory names under /sys/fs/cgroup."""
    present = [name for name in CONTROLLERS if os.path.isdir(f"{MOUNT}/{name}")]
    if os.path.exists(f"{MOUNT}/{UNIFIED}/cgroup.procs"):
        present.append(UNIFIED)
    return tuple(present)


class Group:
    """A group of one name in every hierarchy; see `engine.cgroups.manager.Group`."""

    def __init__(self, instance: str, name: str) -> None:
        self._parent = f"wharfie-{instance}"
        self._name = name
        self._hierarchies = [each for each in hierarchies() if each != UNIFIED or name == ENGINE_GROUP]

    def _path(self, hierarchy: str, file: str = "") -> str:
        path = f"{MOUNT}/{hierarchy}/{self._parent}/{self._name}"
        return f"{path}/{file}" if file else path

    def create(self, *, confined: bool = True) -> None:
        """Make the group."""
        try:
            for hierarchy in self._hierarchies:
                try:
                    os.mkdir(self._path(hierarchy), 0o755)
                except FileNotFoundError:  # the instance's first
                    os.makedirs(self._path(hierarchy), 0o755, exist_ok=True)
                except FileExistsError:
                    if confined:
                        raise
            if confined:
                write_text(self._path("devices", "devices.deny"), "a")
                for rule in DEVICES:
                    write_text(self._path("devices", "devices.allow"), rule)
        except BaseException:
            self.remove()
            raise

    def limit(self, limits: dict[str, float]) -> None:
        """Set its limits."""
        # memory first, then memory+swap: the kernel keeps the second >= the first at every moment.
        write_text(self._path("memory", "memory.limit_in_bytes"), int(limits["memory_bytes"]))
        swap = self._path("memory", "memory.memsw.limit_in_bytes")
        if os.path.exists(swap):
            write_text(swap, int(limits["memory_swap_bytes"]))
        write_text(self._path("pids", "pids.max"), int(limits["pids"]))
        write_text(self._path("cpu", "cpu.cfs_period_us"), CPU_PERIOD_US)
        write_text(self._path("cpu", "cpu.cfs_quota_us"), int(limits["cpus"] * CPU_PERIOD_US))

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

    def counters(self) -> Counters:
        """Read what it used."""
        stat = keyed(read_text(self._path("memory", "memory.stat")))
        usage = int(read_text(self._path("memory", "memory.usage_in_bytes")))
        return Counters(
            cpu_time_ns=int(read_text(self._path("cpuacct", "cpuacct.usage"))),
            memory_bytes=max(0, usage - stat.get("total_inactive_file", 0)),
            pids=int(read_text(self._path("pids", "pids.current"))),
            oom_kills=keyed(read_text(self._path("memory", "memory.oom_control"))).get("oom_kill", 0),
        )

    def pids(self) -> list[int]:
        """The processes in it."""
        try:
            return [int(pid) for pid in read_text(self._path(self._hierarchies[0], "cgroup.procs")).split()]
        except FileNotFoundError:
            return []

    def kill(self) -> None:
        """SIGKILL to all in it."""
        while pids := self.pids():
            alive = 0
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                    alive += 1
                except ProcessLookupError:  # it ended meanwhile, as wished
                    continue
            if not alive:
                return
            os.sched_yield()

    def remove(self) -> None:
        """Remove the empty group from every hierarchy."""
        for hierarchy in self._hierarchies:
            try:
                os.rmdir(self._path(hierarchy))
            except FileNotFoundError:
                continue
