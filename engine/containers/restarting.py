"""The wish that containers run again: written down for their shims, and seen to when the host or a shim went down."""

from __future__ import annotations

import sys
from collections.abc import Callable

from engine.containers.records import Records
from engine.containers.spec import Container, RestartMode, RestartPolicy, State
from engine.errors import EngineError
from engine.linux import process
from engine.storage import atomic
from engine.storage.paths import Paths


class Restarting:
    """What the engine does for a restart policy. The restarts themselves are the shim's: `engine.shim.restarts`."""

    def __init__(self, paths: Paths, records: Records) -> None:
        self._paths = paths
        self._records = records

    def wish(self, container: Container) -> None:
        """It is to run from now on, as its policy says."""
        self.write(container, container.spec.restart)

    def forget(self, container: Container) -> None:
        """Somebody stops it: it is not to run again by itself."""
        self._paths.restart(container.id).unlink(missing_ok=True)

    def wished(self, container: Container) -> bool:
        """Whether its shim is to run it again."""
        return self._paths.restart(container.id).exists()

    def write(self, container: Container, wanted: RestartPolicy) -> None:
        """It is to run from now on as this policy says."""
        if wanted.mode is RestartMode.NO:
            self.forget(container)
        else:
            atomic.write_atomically(self._paths.restart(container.id), f"{wanted}\n".encode())
            if not self._paths.boot.exists():  # no console has started yet
                atomic.write_atomically(self._paths.boot, process.boot_id().encode())

    def revive(self, start: Callable[[Container], object]) -> None:
        """Start those that are to run and do not: after a reboot, and where a shim was killed with its container.

        A policy of on-failure is not for reboots, as Docker has it. Called when the console starts.
        """
        boot = process.boot_id()
        marker = self._paths.boot
        rebooted = marker.exists() and marker.read_text() != boot
        for container in self._records.all():
            if container.state is not State.EXITED:
                continue
            if self._is_due(container, rebooted=rebooted):
                self.wish(container)  # which whoever stops it meanwhile takes away
                try:
                    start(container)
                except EngineError as error:  # the others start all the same
                    print(f"wharfie: restarting {container.name}: {error}", file=sys.stderr, flush=True)
            elif rebooted:
                self.forget(container)
        atomic.write_atomically(marker, boot.encode())

    def _is_due(self, container: Container, *, rebooted: bool) -> bool:
        mode = container.spec.restart.mode
        wished = self.wished(container)
        unseen = container.exit is not None and container.exit.code is None
        if rebooted:
            return mode is RestartMode.ALWAYS or (mode is RestartMode.UNLESS_STOPPED and wished)
        return wished and unseen
