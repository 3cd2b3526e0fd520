"""A container's processes: those in its control group, whatever pid namespaces they are in."""

from __future__ import annotations

import os
import signal
import threading

from engine import policy
from engine.cgroups import manager
from engine.containers import state
from engine.containers.records import Records
from engine.containers.spec import Container
from engine.containers.stopping import Stopping
from engine.errors import NotFound
from engine.linux import pidfds
from engine.metrics.processes import ProcessReader
from engine.metrics.spec import Process
from engine.security.spec import HOST, Caller


class ProcessWatch:
    """Reads one container's processes again and again, at the cost of one file each."""

    def __init__(self, instance: str, records: Records, container: Container) -> None:
        self._group = manager.group(instance, container.id)
        uid_base = 0 if container.spec.namespaces.user == HOST else container.uid_base
        self._reader = ProcessReader(uid_base, lambda: (records.running(container.id) or {}).get("started_at_ns", 0))
        self._lock = threading.Lock()

    def read(self) -> list[Process]:
        """Its processes now; none when it does not run."""
        with self._lock:
            return self._reader.read(self._group.pids())


class Processes:
    """Looks at single processes of containers, and sends them signals."""

    def __init__(self, instance: str, records: Records, stopping: Stopping) -> None:
        self._instance = instance
        self._records = records
        self._stopping = stopping

    def watch(self, container: Container, caller: Caller) -> ProcessWatch:
        """Denied for who may not enter the container: its command lines are its own."""
        policy.enter(container.spec, caller)
        return ProcessWatch(self._instance, self._records, container)

    def signal(self, container: Container, pid: int, start_time: int, number: int, caller: Caller) -> None:
        """Send a signal to exactly that process. NotFound when it has ended, or is none of this container's."""
        policy.enter(container.spec, caller)
        state.require("signal", container.state, container.name)
        pidfd = pidfds.opened(pid, start_time) if 0 < pid < 2**22 else None
        gone = NotFound(
            f"process {pid} has ended, or is not the container's", hint="look at the list", subject=str(pid)
        )
        if pidfd is None:
            raise gone
        try:
            # Opened first: should the number become another's after the look, the signal goes nowhere.
            if pid not in manager.group(self._instance, container.id).pids():
                raise gone
            if pid == container.pid:
                self._stopping.signal(
                    container, number, caller
                )  # whoever ends that one ends its restart policy as well
            else:
                signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            raise gone from None
        finally:
            os.close(pidfd)
