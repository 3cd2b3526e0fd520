"""Watch one running container: move its output, answer its control socket, learn how it ended."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from engine.cgroups import manager
from engine.errors import Busy, EngineError
from engine.linux import process
from engine.shim import protocol, session
from engine.shim.stdio import STDERR, STDOUT, Log, Pump, available
from engine.storage import wakeups

MAX_SESSIONS = 64
FULL_RETRY_MS = 500


class Supervisor:
    """The loop of a shim. Uses poll and plain descriptors: 11 of them, and nothing wakes it while nothing happens."""

    def __init__(self, handed: bytes, descriptors: tuple[int, ...], starter: int) -> None:
        """Take over what a starter has made; see `engine.shim.starter.start`."""
        self._raw = handed
        self._pidfd, self._root, self._tree, self._exit, self._log_fd, *outputs, self._listener = descriptors
        self._outputs = outputs
        self._pumps: dict[int, Pump] = {}
        self._clients: dict[int, socket.socket] = {}
        self._waiting: list[int] = []
        self._signalled = 0
        self._poll = select.poll()
        self._children: dict[int, int] = {}  # pidfd to pid: of the starter and of those that serve sessions
        self._see_off(starter)

    @functools.cached_property
    def _handed(self) -> dict[str, Any]:
        handed: dict[str, Any] = json.loads(self._raw)
        return handed

    @functools.cached_property
    def _log(self) -> Log:
        request = self._handed["request"]
        return Log(
            request["log"], request["log_segment_bytes"], request["log_segments"], self._log_fd, **self._handed["log"]
        )

    def _pump(self, descriptor: int) -> Pump:
        """The pump of an output, made when there is some."""
        if descriptor not in self._pumps:
            stream = (STDOUT, STDERR)[self._outputs.index(descriptor)]
            self._pumps[descriptor] = Pump(self._log, stream, descriptor)
        return self._pumps[descriptor]

    def run(self) -> None:
        """Until the container has ended and everybody knows."""
        self.watch()
        self._finish()

    def watch(self) -> None:
        """Until its first process has ended."""
        poll = self._poll
        for descriptor in (self._pidfd, self._listener, *self._outputs):
            poll.register(descriptor, select.POLLIN)
        running, full = True, False
        while running:
            ready = poll.poll(FULL_RETRY_MS if full else None)
            if full and not ready:
                full = False
                for descriptor in self._outputs:
                    poll.register(descriptor, select.POLLIN)
            for descriptor, _ in ready:
                if descriptor in self._outputs:
                    if not full and not self._pump(descriptor).move():
                        full = True  # it is looked at again in a while; a container that goes on writing waits for that
                        print("wharfie shim: the disk is full, and output waits", file=sys.stderr, flush=True)
                        for output in self._outputs:
                            poll.unregister(output)
                elif descriptor == self._pidfd:
                    running = False
                elif descriptor in self._children:
                    poll.unregister(descriptor)
                    os.waitpid(self._children.pop(descriptor), 0)
                    os.close(descriptor)
                elif descriptor == self._listener:
                    with socket.socket(fileno=os.dup(self._listener)) as listener:
                        client, _address = listener.accept()
                    client.settimeout(5.0)
                    self._clients[client.fileno()] = client
                    poll.register(client.fileno(), select.POLLIN)
                elif descriptor in self._clients and not self._serve(self._clients[descriptor]):
                    poll.unregister(descriptor)
                    self._waiting = [waiting for waiting in self._waiting if waiting != descriptor]
                    self._clients.pop(descriptor).close()

    def _see_off(self, child: int) -> None:
        """Reap a child when it ends."""
        pidfd = os.pidfd_open(child)
        self._children[pidfd] = child
        self._poll.register(pidfd, select.POLLIN)

    def _open_session(self, request: dict[str, Any], client: socket.socket) -> None:
        """In a child, which has the caller from then on."""
        if len(self._children) >= MAX_SESSIONS:
            raise Busy(f"{MAX_SESSIONS} commands run in it already", hint="end one of them")
        child = os.fork()
        if child:
            self._see_off(child)
            return
        status = 1
        try:
            for descriptor in (self._root, self._tree, self._exit, self._log_fd, self._listener, *self._outputs):
                os.close(descriptor)
            known = self._handed["request"]
            process.set_name(f"exec {known['id']}".encode()[:15])
            client.settimeout(None)
            group = manager.group(known["instance"], known["id"])
            session.run(request, client, self._pidfd, known["uid_base"], group)
            status = 0
        finally:
            os._exit(status)

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
            elif request.get("op") == "exec":
                self._open_session(request, client)
                return False
            else:
                protocol.send(
                    client, {"error": {"class": "Unsupported", "message": f"unknown request {request.get('op')!r}"}}
                )
        except EngineError as error:
            protocol.send(client, {"error": error.to_wire()})
        except (OSError, EOFError, ValueError):  # a client that breaks off or talks nonsense is its own loss
            return False
        return True

    def _finish(self) -> None:
        request = self._handed["request"]
        _, status = os.waitpid(self._handed["pid"], 0)
        lost = sum(self._pump(output).drain() for output in self._outputs if available(output))
        group = manager.group(request["instance"], request["id"])
        code, oom = os.waitstatus_to_exitcode(status), group.oom()
        ended = {
            "code": code if code >= 0 else 128 - code,
            "signal": -code if code < 0 else None,
            "oom_killed": oom.kills > 0,
            "oom_limit_bytes": oom.limit_bytes,
            "asked_signal": self._signalled or None,
            "finished_at_ns": time.time_ns(),
            "reason": f"signal {self._signalled} was asked for" if self._signalled and code != 0 else "",
        }
        if lost:
            told = f"{ended['reason']}; the disk was full, {lost} bytes of output are lost"
            ended["reason"] = told.removeprefix("; ")
        try:
            manager.clear(group)
        except OSError as error:  # the engine clears it before the next start; the exit record must not wait for it
            print(f"wharfie shim: {error}", file=sys.stderr, flush=True)
        os.write(self._exit, json.dumps(ended | {"started_at_ns": self._handed["started_at_ns"]}).encode())
        os.close(self._listener)  # who came too late to be heard looks at the record
        for descriptor in self._waiting:
            if descriptor in self._clients:
                try:
                    protocol.send(self._clients[descriptor], {"exit": ended})
                except OSError:  # it left; the record is there for whoever looks
                    continue
        os.fsync(self._exit)  # those who wait need not wait for the disk
        wakeups.wake(request["events"])
        # The last descriptors of its mounts and of the overlay, whose end writes back all that is dirty on the host's
        # file system: nobody has to wait for that but the next start of this container. The record says until when.
        os.close(self._tree)
        os.close(self._root)
        directory, _, name = request["socket"].rpartition("/")
        for left in os.listdir(directory):
            if left.startswith(f"{request['id']}.") and left != name and left.endswith(".sock"):
                with contextlib.suppress(FileNotFoundError):  # a session that was killed left it, or one is just ending
                    os.unlink(f"{directory}/{left}")
        os.unlink(request["socket"])
        os.unlink(request["record"])

    def leave_engine(self) -> None:
        """The shim of a launcher that is gone may be the last of its instance, and then removes the engine's groups."""
        request = self._handed["request"]
        manager.leave_engine(request["instance"], request["groups_lock"])
