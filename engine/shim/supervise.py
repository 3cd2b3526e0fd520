"""Watch one running container: move its output, answer its control socket, learn how it ended."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from engine.cgroups.manager import Group
from engine.linux import process
from engine.shim import protocol
from engine.shim.stdio import Log, Pump
from engine.storage import wakeups


class Supervisor:
    """The loop of a shim. Uses poll and plain descriptors: 10 of them, and nothing wakes it while nothing happens."""

    def __init__(
        self,
        request: dict[str, Any],
        pid: int,
        pidfd: int,
        group: Group,
        root: int,
        log: Log,
        pumps: list[Pump],
        listener: socket.socket,
    ) -> None:
        self.pid = pid
        self.started_at_ns = time.time_ns()
        self._request = request
        self._pidfd = pidfd
        self._group = group
        self._root = root
        self._exit = -1
        self._log = log
        self._pumps = {pump.pipe: pump for pump in pumps}
        self._listener = listener
        self._clients: dict[int, socket.socket] = {}
        self._waiting: list[int] = []
        self._signalled = 0

    def record(self) -> None:
        """Say in WHARFIE_RUN who runs. Pids with their start time and boot: a number alone means nothing later."""
        facts = {
            "version": protocol.VERSION,
            "pid": self.pid,
            "start_time": process.start_time(self.pid),
            "shim_pid": os.getpid(),
            "shim_start_time": process.start_time(os.getpid()),
            "boot_id": process.boot_id(),
            "started_at_ns": self.started_at_ns,
        }
        # Open, and empty, from the start: at the end one flush makes name and content durable.
        self._exit = os.open(
            self._request["exit"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        _replace(self._request["record"], json.dumps(facts).encode())

    def run(self) -> None:
        """Until the container has ended and everybody knows."""
        poll = select.poll()
        for descriptor in (self._pidfd, self._listener.fileno(), *self._pumps):
            poll.register(descriptor, select.POLLIN)
        running = True
        while running:
            for descriptor, _ in poll.poll():
                if descriptor in self._pumps:
                    self._pumps[descriptor].move()
                elif descriptor == self._pidfd:
                    running = False
                elif descriptor == self._listener.fileno():
                    client, _address = self._listener.accept()
                    client.settimeout(5.0)
                    self._clients[client.fileno()] = client
                    poll.register(client.fileno(), select.POLLIN)
                elif descriptor in self._clients and not self._serve(self._clients[descriptor]):
                    poll.unregister(descriptor)
                    self._waiting = [waiting for waiting in self._waiting if waiting != descriptor]
                    self._clients.pop(descriptor).close()
        self._finish()

    def _serve(self, client: socket.socket) -> bool:
        """Answer one message; False when the client is done."""
        try:
            message = protocol.receive(client)
            if message is None:
                return False
            request = message[0]
            if request.get("op") == "signal":
                self._signalled = int(request["signal"])
                try:
                    signal.pidfd_send_signal(self._pidfd, self._signalled)
                except ProcessLookupError:  # it has just ended; the exit record says how
                    self._signalled = 0
                protocol.send(client, {"ok": True})
            elif request.get("op") == "wait":
                self._waiting.append(client.fileno())
            else:
                protocol.send(
                    client, {"error": {"class": "Unsupported", "message": f"unknown request {request.get('op')!r}"}}
                )
        except (OSError, EOFError, ValueError):  # a client that breaks off or talks nonsense is its own loss
            return False
        return True

    def _finish(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        for pump in self._pumps.values():
            pump.drain()
        code = os.waitstatus_to_exitcode(status)
        ended = {
            "code": code if code >= 0 else 128 - code,
            "signal": -code if code < 0 else None,
            "oom_killed": self._group.counters().oom_kills > 0,
            "finished_at_ns": time.time_ns(),
            "reason": f"signal {self._signalled} was asked for" if self._signalled and code != 0 else "",
        }
        self._log.close()
        self._remove_group()
        os.write(self._exit, json.dumps(ended | {"started_at_ns": self.started_at_ns}).encode())
        os.fsync(self._exit)
        for descriptor in self._waiting:
            if descriptor in self._clients:
                try:
                    protocol.send(self._clients[descriptor], {"exit": ended})
                except OSError:  # it left; the record is there for whoever looks
                    continue
        wakeups.wake(self._request["events"])
        # The last descriptor of the overlay: its end writes back all that is dirty on the host's file system, which
        # nobody has to wait for but the next start of this container. The record says until when.
        os.close(self._root)
        os.unlink(self._request["socket"])
        os.unlink(self._request["record"])

    def _remove_group(self) -> None:
        """The last process is reaped, but the kernel may take a moment to empty the group."""
        for attempt in range(100):
            try:
                self._group.remove()
                return
            except OSError as error:
                if attempt == 99:  # the engine clears it before the next start; the exit record must not wait for it
                    print(f"wharfie shim: {error}", file=sys.stderr, flush=True)
                    return
                self._group.kill()
                select.select((), (), (), 0.01)


def _replace(path: str, data: bytes) -> None:
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
