"""Start, stop, kill, wait for and remove a container."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from engine import names
from engine.cgroups import manager
from engine.containers import state
from engine.containers.records import Records
from engine.containers.spec import Container, ContainerSpec, ExitRecord, NetworkMode, State
from engine.errors import Busy, KernelError, Unavailable, WrongState, from_wire
from engine.events import Events
from engine.images.spec import Image
from engine.launcher.client import LauncherClient
from engine.linux import process, unix
from engine.shim import protocol
from engine.storage import atomic, instance
from engine.storage.database import Database
from engine.storage.paths import Paths

AFTER_KILL_S = 10.0


class Lifecycle:
    """The acts that change a container's state. Each holds the container's lock, so two never interleave."""

    def __init__(
        self,
        instance_id: str,
        paths: Paths,
        database: Database,
        events: Events,
        records: Records,
        launcher: LauncherClient,
    ) -> None:
        self._instance = instance_id
        self._paths = paths
        self._database = database
        self._events = events
        self._records = records
        self._launcher = launcher

    @contextmanager
    def _locked(self, container: Container) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(instance.locked(self._paths.container_lock(container.id)))
            except FileNotFoundError:  # its directory is lost, or it was removed meanwhile
                stack.enter_context(instance.locked(self._paths.containers / ".lock"))
            yield

    def start(self, container: Container, image: Image) -> None:
        """Start it; on return its command has been executed. On error it is as it was before."""
        state.require("start", container.state, container.name)
        with self._locked(container):
            container = self._records.find(container.id)
            state.require("start", container.state, container.name)
            if container.exit is None and (
                container.state is State.EXITED or self._records.shim(container.id) is not None
            ):
                raise self._just_ending(container)
            self._clear(container)
            self._paths.exit_record(container.id).unlink(missing_ok=True)
            try:
                answer = self._launcher.call("start", self._request(container, image))
            except Unavailable:  # who started it was killed, before the shim was in charge or after
                if self._ask(container, {"op": "signal", "signal": 0}, AFTER_KILL_S) is None:
                    self._clear(container)
                    raise
                return  # it runs; the next look takes that from its record
            with self._database.transaction() as connection:
                connection.execute(
                    "UPDATE containers SET started_at_ns = ?, exit = NULL WHERE id = ?",
                    (answer["started_at_ns"], container.id),
                )
                self._events.add(connection, "container", "start", container.id, container.name)
        self._events.wake()

    def _clear(self, container: Container) -> None:
        """Take away what a shim that was killed could not: its control groups, record and socket."""
        shim_pid = self._records.shim(container.id)
        if shim_pid is not None:  # it is just giving up the last run's file system, and takes everything away itself
            self._wait_for_pid(shim_pid, AFTER_KILL_S)
            if self._records.shim(container.id) is not None:
                raise self._just_ending(container)
        record = self._paths.run_record(container.id)
        door = self._paths.shim_socket(container.id)  # made before anything else, so that a start cut short shows
        if not record.exists() and not door.exists():
            return
        group = manager.group(self._instance, container.id)
        if group.pids():
            group.kill()
        group.remove()
        record.unlink(missing_ok=True)
        door.unlink(missing_ok=True)

    @staticmethod
    def _just_ending(container: Container) -> Busy:
        return Busy(
            f"container {container.name!r} is just ending", hint="try again in a moment", subject=container.name
        )

    def _request(self, container: Container, image: Image) -> dict[str, Any]:
        directory = self._paths.container(container.id)
        spec = container.spec
        return {
            "version": protocol.VERSION,
            "id": container.id,
            "instance": self._instance,
            "uid_base": container.uid_base,
            "rootfs": str(self._paths.rootfs),
            "layers": [str(self._paths.skeleton), *(str(self._paths.layer(layer.diff_id)) for layer in image.layers)],
            "upper": str(directory / "upper"),
            "work": str(directory / "work"),
            "etc": etc_files(spec),
            "log": str(self._paths.log(container.id)),
            "log_segment_bytes": spec.log_segment_bytes,
            "log_segments": spec.log_segments,
            "record": str(self._paths.run_record(container.id)),
            "socket": str(self._paths.shim_socket(container.id)),
            "exit": str(self._paths.exit_record(container.id)),
            "events": str(self._paths.events),
            "groups_lock": str(self._paths.groups_lock),
            "volumes": [
                {"source": str(self._paths.volume(v.volume)), "target": v.target, "read_only": v.read_only}
                for v in spec.volumes
            ],
            "argv": list(container.argv),
            "env": list(spec.env),
            "user": spec.user or "",
            "workdir": spec.workdir,
            "hostname": spec.hostname,
            "network": spec.network.value,
            "limits": dataclasses.asdict(spec.limits),
        }

    def signal(self, container: Container, number: int) -> None:
        """Send a signal to its first process."""
        state.require("kill", container.state, container.name)
        answer = self._ask(container, {"op": "signal", "signal": number}, 5.0)
        if answer is None:
            record = self._records.running(container.id)
            if record is not None:  # no shim answers: the kernel still does
                self._signal_directly(record["pid"], record["start_time"], number)

    @staticmethod
    def _signal_directly(pid: int, start_time: int, number: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if process.start_time(pid) == start_time:
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)

    def stop(self, container: Container, timeout_s: float | None) -> None:
        """Ask with its stop signal, wait, then kill. Nothing to do when it does not run."""
        state.require("stop", container.state, container.name)
        if container.state is not State.RUNNING:
            return
        patience_s = container.spec.stop_timeout_s if timeout_s is None else timeout_s
        try:
            if patience_s > 0:
                self.signal(container, names.signal_number(container.spec.stop_signal or "TERM"))
                if self._ended(container, patience_s):
                    return
            self.signal(self._records.find(container.id), names.signal_number("KILL"))
        except WrongState:  # it ended between two looks, which was the wish
            return
        if not self._ended(container, AFTER_KILL_S):
            raise Busy(
                f"container {container.name!r} does not die: a process of it is stuck in the kernel",
                hint="it ends when its device or file system answers",
                subject=container.name,
            )

    def _ended(self, container: Container, timeout_s: float) -> bool:
        try:
            self.wait(container, timeout_s)
        except Unavailable:
            return False
        return True

    def wait(self, container: Container, timeout_s: float | None) -> ExitRecord:
        """Wait until it has ended. WrongState when it never started, Unavailable after ``timeout_s``."""
        if container.state is State.CREATED:
            raise WrongState(
                f"container {container.name!r} was never started", hint="start it first", subject=container.name
            )
        if container.exit is not None:
            return container.exit
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._ask(container, {"op": "wait"}, timeout_s)
        found = self._records.find(container.id)
        # No answer: first its init has to end, then a killed shim, which may be busy giving up the file system.
        for pid in (found.pid, self._records.shim(container.id)):
            if found.exit is None and pid is not None:
                self._wait_for_pid(pid, None if deadline is None else max(0.0, deadline - time.monotonic()))
                found = self._records.find(container.id)
        if found.exit is None:
            raise Unavailable(
                f"container {container.name!r} has not ended", hint="wait longer, or stop it", subject=container.name
            )
        return found.exit

    @staticmethod
    def _wait_for_pid(pid: int, timeout_s: float | None) -> None:
        """Until a process has ended, asked of the kernel: a shim, or an init whose shim does not answer."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            select.select([pidfd], (), (), timeout_s)
        finally:
            os.close(pidfd)

    def _ask(self, container: Container, message: dict[str, Any], timeout_s: float | None) -> dict[str, Any] | None:
        """One question to the shim; None when there is no shim, or no answer in time."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as door:
            door.settimeout(timeout_s)
            try:
                directory_fd = os.open(self._paths.shims, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    door.connect(unix.address(directory_fd, self._paths.shim_socket(container.id).name))
                finally:
                    os.close(directory_fd)
                protocol.send(door, message)
                answer = protocol.receive(door)
            except (OSError, EOFError):  # gone or silent: the caller asks the kernel
                return None
        if answer is not None and "error" in answer[0]:
            raise from_wire(answer[0]["error"])
        return answer[0] if answer else None

    def remove(self, container: Container, *, force: bool) -> None:
        """Remove it with its writable layer and log. Volumes stay."""
        if force and container.state is State.RUNNING:
            self.stop(container, 0)
            container = self._records.find(container.id)
        state.require("remove", container.state, container.name)
        with self._locked(container):
            container = self._records.find(container.id)
            state.require("remove", container.state, container.name)
            if container.exit is None or self._records.shim(container.id) is None:
                self._clear(container)
            # Else its shim has only the file system to give up, of which nothing is wanted any more.
            with self._database.transaction(durable=True) as connection:
                connection.execute("DELETE FROM containers WHERE id = ?", (container.id,))
                self._events.add(connection, "container", "remove", container.id, container.name)
            try:
                atomic.discard(self._paths.container(container.id), self._paths.trash)
            except OSError as error:
                raise KernelError.from_os(
                    error, "deleting its files", hint="they are in WHARFIE_ROOT/trash and tried again at the next start"
                ) from error
        self._events.wake()


def etc_files(spec: ContainerSpec) -> dict[str, str]:
    """/etc/hosts, hostname and resolv.conf of a container: the host's on its network, else loopback alone."""
    files = {"hostname": f"{spec.hostname}\n"}
    if spec.network is NetworkMode.HOST:
        for name in ("hosts", "resolv.conf"):
            path = Path("/etc") / name
            files[name] = path.read_text() if path.exists() else ""
    else:
        files["hosts"] = f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.0.1 {spec.hostname}\n"
        files["resolv.conf"] = ""
    return files
