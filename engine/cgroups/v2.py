"""cgroup v2; kernel documentation admin-guide/cgroup-v2.rst.

Devices have no file there: a BPF program attached to the group decides (`engine.linux.bpf`).
"""

from __future__ import annotations

import os

from engine.cgroups.manager import Counters, keyed, read_text, write_text
from engine.cgroups.v1 import CPU_PERIOD_US, DEVICES
from engine.linux import bpf

MOUNT = "/sys/fs/cgroup"
CONTROLLERS = ("cpu", "memory", "pids", "io")


class Group:
    """A group of the unified hierarchy; see `engine.cgroups.manager.Group`."""

    def __init__(self, instance: str, name: str, mount: str = MOUNT) -> None:
        self._mount = mount
        self._parent = f"{mount}/wharfie-{instance}"
        self._directory = f"{self._parent}/{name}"

    def create(self, *, confined: bool = True) -> None:
        """Make the group."""
        if not os.path.isdir(self._parent):
            self._delegate(self._mount)
            os.makedirs(self._parent, 0o755, exist_ok=True)
        self._delegate(self._parent)
        try:
            os.mkdir(self._directory, 0o755)
        except FileExistsError:
            if confined:
                raise
        if confined:
            try:
                bpf.restrict_devices(self._directory, DEVICES)
            except BaseException:
                self.remove()
                raise

    @staticmethod
    def _delegate(directory: str) -> None:
        """Let the children of a group have the controllers that it has itself."""
        offered = read_text(f"{directory}/cgroup.controllers").split()
        enabled = read_text(f"{directory}/cgroup.subtree_control").split()
        missing = [f"+{name}" for name in CONTROLLERS if name in offered and name not in enabled]
        if missing:
            write_text(f"{directory}/cgroup.subtree_control", " ".join(missing))

    def limit(self, limits: dict[str, float]) -> None:
        """Set its limits."""
        memory = int(limits["memory_bytes"])
        write_text(f"{self._directory}/memory.max", memory)
        swap = f"{self._directory}/memory.swap.max"
        if os.path.exists(swap):  # v2 counts swap alone, v1 and Docker memory and swap together
            write_text(swap, int(limits["memory_swap_bytes"]) - memory)
        write_text(f"{self._directory}/pids.max", int(limits["pids"]))
        write_text(f"{self._directory}/cpu.max", f"{int(limits['cpus'] * CPU_PERIOD_US)} {CPU_PERIOD_US}")

    def add(self, pid: int) -> None:
        """Move a process in."""
        write_text(f"{self._directory}/cgroup.procs", pid)

    def birthplace(self) -> int | None:
        """A descriptor of the directory."""
        return os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def doors(self) -> list[int]:
        """None: who belongs there was born there."""
        return []

    def counters(self) -> Counters:
        """Read what it used."""
        usage = int(read_text(f"{self._directory}/memory.current"))
        return Counters(
            cpu_time_ns=keyed(read_text(f"{self._directory}/cpu.stat"))["usage_usec"] * 1000,
            memory_bytes=max(0, usage - keyed(read_text(f"{self._directory}/memory.stat")).get("inactive_file", 0)),
            pids=int(read_text(f"{self._directory}/pids.current")),
            oom_kills=keyed(read_text(f"{self._directory}/memory.events")).get("oom_kill", 0),
        )

    def pids(self) -> list[int]:
        """The processes in it."""
        try:
            return [int(pid) for pid in read_text(f"{self._directory}/cgroup.procs").split()]
        except FileNotFoundError:
            return []

    def kill(self) -> None:
        """SIGKILL to all in it; cgroup.kill, Linux 5.14."""
        write_text(f"{self._directory}/cgroup.kill", 1)

    def remove(self) -> None:
        """Remove the empty group."""
        try:
            os.rmdir(self._directory)
        except FileNotFoundError:
            return
