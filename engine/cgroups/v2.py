"""cgroup v2; kernel documentation admin-guide/cgroup-v2.rst.

Devices have no file there: a BPF program attached to the group decides (`engine.linux.bpf`).
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence

from engine.cgroups import v2_limits
from engine.cgroups.counters import Counters, Cpu, Io, Memory, Oom, UnlessGone, keyed, pressure, read_number, read_text
from engine.cgroups.meter import Meter, Place
from engine.cgroups.settings import Limits, busy, replace, write, write_text
from engine.cgroups.v1 import DEVICES
from engine.linux import bpf

MOUNT = "/sys/fs/cgroup"
CONTROLLERS = ("cpu", "memory", "pids", "io", "cpuset", "hugetlb")
UNANNOUNCED_S = 0.1  # between two looks: a change within 10 ms of another one is told later, and not if the group goes


class Group:
    """A group of the unified hierarchy; see `engine.cgroups.manager.Group`."""

    def __init__(self, instance: str, name: str, mount: str = MOUNT) -> None:
        self._mount = mount
        self._parent = f"{mount}/wharfie-{instance}"
        self._directory = f"{self._parent}/{name}"

    def create(self, *, confined: bool = True, devices: Sequence[str] = ()) -> None:
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
                bpf.restrict_devices(self._directory, (*DEVICES, *devices))
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

    def _path(self, file: str) -> str:
        return f"{self._directory}/{file}"

    def limit(self, limits: Limits) -> None:
        """Set the limits of a new group."""
        write(v2_limits.settings(self._directory, limits, fresh=True))

    def change(self, limits: Limits) -> None:
        """Set the limits of a group in use."""
        settings = v2_limits.settings(self._directory, limits, fresh=False)
        wanted = {setting.path: setting.value for setting in settings}
        # The kernel would take these and only refuse what is asked for from now on.
        for file, used in (("pids.max", "pids.current"), ("memory.swap.max", "memory.swap.current")):
            most = wanted.get(self._path(file), "max")
            if most != "max" and (read_number(self._path(used)) or 0) > int(most):
                raise busy(self._path(file))
        memory, high = int(limits["memory_bytes"]), self._path("memory.high")
        if memory >= self._held():
            replace(settings)
            return
        # A memory.max below what is in use kills; memory.high reclaims, and holds back who wants more meanwhile.
        write_text(high, memory)
        try:
            if self._held() > memory:
                raise busy(self._path("memory.max"))
            replace(settings)
        finally:
            write_text(high, "max")

    def _held(self) -> int:
        return int(read_text(self._path("memory.current")))

    def add(self, pid: int) -> None:
        """Move a process in."""
        write_text(f"{self._directory}/cgroup.procs", pid)

    def birthplace(self) -> int | None:
        """A descriptor of the directory."""
        return os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def doors(self) -> list[int]:
        """None: who belongs there was born there."""
        return []

    def meter(self) -> Meter:
        """The few figures of a list."""
        return Meter(
            cpu=Place(self._path("cpu.stat"), b"usage_usec", 1000),
            memory=Place(self._path("memory.current")),
            inactive=Place(self._path("memory.stat"), b"inactive_file"),
            pids=Place(self._path("pids.current")),
            oom_kills=Place(self._path("memory.events"), b"oom_kill"),
        )

    def counters(self) -> Counters:
        """Everything that the kernel counts."""
        cpu = keyed(read_text(self._path("cpu.stat")))
        throttled_us = cpu.get("throttled_usec")  # the three of the quota are there with the cpu controller only
        memory = self._memory()
        return Counters(
            cpu=Cpu(
                time_ns=cpu["usage_usec"] * 1000,
                user_ns=cpu["user_usec"] * 1000,
                system_ns=cpu["system_usec"] * 1000,
                periods=cpu.get("nr_periods"),
                throttled_periods=cpu.get("nr_throttled"),
                throttled_ns=None if throttled_us is None else throttled_us * 1000,
            ),
            memory=memory,
            io=self._io(),
            pids=read_number(self._path("pids.current")),
            oom_kills=self.oom().kills if memory else None,
            cpu_pressure=pressure(self._path("cpu.pressure")),
            memory_pressure=pressure(self._path("memory.pressure")),
            io_pressure=pressure(self._path("io.pressure")),
        )

    def _memory(self) -> Memory | None:
        held = read_number(self._path("memory.current"))
        if held is None:
            return None
        stat = keyed(read_text(self._path("memory.stat")))
        return Memory(
            working_set_bytes=max(0, held - stat["inactive_file"]),
            peak_bytes=read_number(self._path("memory.peak")),
            anon_bytes=stat["anon"],
            file_bytes=stat["file"],
            inactive_file_bytes=stat["inactive_file"],
            kernel_bytes=stat.get("kernel"),  # Linux 5.18
            swap_bytes=read_number(self._path("memory.swap.current")),
        )

    def _io(self) -> Io | None:
        try:
            lines = read_text(self._path("io.stat")).splitlines()
        except FileNotFoundError:
            return None
        devices = [dict(word.split("=") for word in line.split()[1:]) for line in lines]
        return Io(*(sum(int(each.get(key, 0)) for each in devices) for key in ("rbytes", "wbytes", "rios", "wios")))

    def oom(self) -> Oom:
        """What the out-of-memory killer did."""
        events = keyed(read_text(self._path("memory.events")))
        limit = read_text(self._path("memory.max")).strip() if events.get("oom") else "max"
        return Oom(events.get("oom_kill", 0), None if limit == "max" else int(limit))

    def freeze(self, timeout_s: float) -> None:
        """Stop all its processes."""
        write_text(self._path("cgroup.freeze"), 1)
        until = time.monotonic() + timeout_s
        with open(self._path("cgroup.events")) as events:
            changed = select.poll()
            changed.register(
                events, select.POLLPRI
            )  # so the kernel announces a change; cgroup-v2.rst, "Basic Operations"
            while "frozen 1" not in events.read():
                left = until - time.monotonic()
                if left <= 0:
                    write_text(self._path("cgroup.freeze"), 0)
                    raise TimeoutError(f"{self._directory}: not all processes stand still")
                changed.poll(min(left, UNANNOUNCED_S) * 1000)
                events.seek(0)

    def thaw(self) -> None:
        """Let them go on."""
        write_text(self._path("cgroup.freeze"), 0)

    def frozen(self) -> bool:
        """Whether they are to stand still."""
        try:
            return read_text(self._path("cgroup.freeze")).strip() == "1"
        except FileNotFoundError:
            return False

    def pids(self) -> list[int]:
        """The processes in it."""
        try:
            return [int(pid) for pid in read_text(f"{self._directory}/cgroup.procs").split()]
        except FileNotFoundError:
            return []

    def kill(self) -> None:
        """SIGKILL to all in it, which ends frozen ones too; cgroup.kill, Linux 5.14."""
        with UnlessGone():
            write_text(self._path("cgroup.kill"), 1)

    def remove(self) -> None:
        """Remove the empty group."""
        with UnlessGone():
            os.rmdir(self._directory)
