"""Watch one container, run by run: move its output, answer its control socket, learn how each run ended."""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from engine.cgroups import manager
from engine.errors import Busy, EngineError, KernelError, WrongState, from_wire
from engine.linux import files, process
from engine.shim import handover, health, protocol, restarts, session, starter
from engine.shim.handover import Handover
from engine.shim.stdio import STDERR, STDOUT, Log, Pump, available
from engine.storage import wakeups

MAX_SESSIONS = 64
FULL_RETRY_S = 0.5
STREAMS = (STDOUT, STDERR)
NEVER = float("inf")
HISTORY = 8


class Supervisor:
    """The loop of a shim. Uses poll and plain descriptors: 11 of them, and nothing wakes it while nothing happens."""

    def __init__(self, first: Handover, status: Callable[[], int | None] | None = None) -> None:
        """Take over what a starter has made; ``status`` tells how its first process ended, if that is no child."""
        self._listener, self._exit, self._log_fd = first.listener, first.exit, first.log
        self._clients: dict[int, socket.socket] = {}
        self._waiting: list[int] = []
        self._children: dict[int, tuple[int, Callable[[int], None] | None]] = {}  # by pidfd: who, and whom it concerns
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._restarts = 0
        self._history: list[dict[str, Any]] = []  # how the runs before this one ended, for who has not looked since
        self._resting = False
        self._pauses = restarts.Pauses()
        self._begin(first, status)

    def _begin(self, run: Handover, status: Callable[[], int | None] | None = None) -> None:
        """Watch one run, from now on."""
        self._run = run
        self._status = status or self._reaped
        self._decoded: dict[str, Any] | None = None
        self._pumps: dict[int, Pump] = {}
        self._running, self._full_until = True, NEVER
        self._signalled = 0
        self._began = time.monotonic()
        self._proved = False  # a health check has succeeded
        self._probe_at = self._began + self._interval() if run.checked else NEVER
        for descriptor in (run.pidfd, *run.outputs):
            self._poll.register(descriptor, select.POLLIN)

    @property
    def _facts(self) -> dict[str, Any]:
        """Of this run. Decoded when somebody asks: until then its pages are the launcher's."""
        if self._decoded is None:
            self._decoded = self._run.facts()
        return self._decoded

    @property
    def _request(self) -> dict[str, Any]:
        request: dict[str, Any] = self._facts["request"]
        return request

    @functools.cached_property
    def _log(self) -> Log:
        request = self._request
        return Log(
            request["log"], request["log_segment_bytes"], request["log_segments"], self._log_fd, **self._facts["log"]
        )

    def _group(self) -> manager.Group:
        return manager.group(self._request["instance"], self._request["id"])

    def _pump(self, descriptor: int) -> Pump:
        """The pump of an output, made when there is some."""
        if descriptor not in self._pumps:
            self._pumps[descriptor] = Pump(self._log, STREAMS[self._run.outputs.index(descriptor)], descriptor)
        return self._pumps[descriptor]

    # The loop

    def run(self) -> None:
        """Until the container has ended for good and everybody knows."""
        self.watch()
        ended = self._end()
        while (pause_s := self._pause(ended)) is not None:
            self._rest(ended, pause_s)
            if not self._resting:
                break
            failed = self._again()
            if failed is None:
                self.watch()
                ended = self._end()
            else:
                ended = ended | failed
        self._finish(ended)

    def watch(self) -> None:
        """Until its first process has ended."""
        while self._running:
            self._turn(min(self._full_until, self._probe_at))
            now = time.monotonic()
            if now >= self._full_until:
                self._full_until = NEVER
                for descriptor in self._run.outputs:
                    self._poll.register(descriptor, select.POLLIN)
            if now >= self._probe_at and self._running:
                self._probe()

    def _turn(self, until: float) -> None:
        """Wait for something, until a monotonic time at most, and attend to it."""
        timeout_ms = None if until == NEVER else max(0.0, until - time.monotonic()) * 1000
        for descriptor, _ in self._poll.poll(timeout_ms):
            if descriptor in self._run.outputs:
                if self._full_until == NEVER and not self._pump(descriptor).move():
                    self._wait_for_room()
            elif descriptor == self._run.pidfd:
                self._running = False
            elif descriptor in self._children:
                self._poll.unregister(descriptor)
                child, then = self._children.pop(descriptor)
                os.close(descriptor)
                status = os.waitpid(child, 0)[1]
                if then is not None:
                    then(status)
            elif descriptor == self._listener:
                with socket.socket(fileno=os.dup(self._listener)) as listener:
                    client, _address = listener.accept()
                client.settimeout(5.0)
                self._clients[client.fileno()] = client
                self._poll.register(client.fileno(), select.POLLIN)
            elif descriptor in self._clients and not self._serve(self._clients[descriptor]):
                self._poll.unregister(descriptor)
                self._waiting = [waiting for waiting in self._waiting if waiting != descriptor]
                self._clients.pop(descriptor).close()

    def _wait_for_room(self) -> None:
        """Output is looked at again in a while; a container that goes on writing waits for that."""
        print("wharfie shim: the disk is full, and output waits", file=sys.stderr, flush=True)
        self._full_until = time.monotonic() + FULL_RETRY_S
        for output in self._run.outputs:
            self._poll.unregister(output)

    # Children

    def see_off(self, child: int, then: Callable[[int], None] | None = None) -> None:
        """Reap a child when it ends, and tell ``then`` its wait status."""
        pidfd = os.pidfd_open(child)
        self._children[pidfd] = child, then
        self._poll.register(pidfd, select.POLLIN)

    def _fork(self, name: str) -> int:
        """fork(2). The child has nothing of the shim's but what it is about to use."""
        child = os.fork()
        if not child:
            process.set_name(f"{name} {self._request['id']}".encode())
            unused = (self._run.root, self._run.tree, self._exit, self._log_fd, self._listener, *self._run.outputs)
            for descriptor in unused:
                if descriptor >= 0:
                    os.close(descriptor)
        return child

    def _open_session(self, request: dict[str, Any], client: socket.socket) -> None:
        """In a child, which has the caller from then on."""
        if len(self._children) >= MAX_SESSIONS:
            raise Busy(f"{MAX_SESSIONS} commands run in it already", hint="end one of them")
        if not self._running:
            raise WrongState("the container waits to be started again", hint="try again when it runs")
        child = self._fork("exec")
        if child:
            self.see_off(child)
            return
        status = 1
        try:
            client.settimeout(None)
            session.run(request, client, self._run.pidfd, self._request["uid_base"], self._group())
            status = 0
        finally:
            os._exit(status)

    def _interval(self) -> float:
        """Seconds to the next health check."""
        check = self._request["health"]
        starting = not self._proved and time.monotonic() - self._began < check["start_period_s"]
        interval_s: float = check["start_interval_s"] if starting else check["interval_s"]
        return interval_s

    def _probe(self) -> None:
        """Run the health check, in a child that keeps its own accounts."""
        self._probe_at = NEVER
        child = self._fork("health")
        if child:
            self.see_off(child, self._probed)
            return
        status = 1
        try:
            grace = time.monotonic() - self._began < self._request["health"]["start_period_s"]
            healthy = health.probe(self._request, self._run.pidfd, self._group(), grace=grace)
            status = 0 if healthy else 1
        finally:
            os._exit(status)

    def _probed(self, status: int) -> None:
        self._proved = self._proved or status == 0
        if self._running:
            self._probe_at = time.monotonic() + self._interval()

    # The control socket

    def _serve(self, client: socket.socket) -> bool:
        """Answer one message; False when the client is done."""
        try:
            message = protocol.receive(client)
            if message is None:
                return False
            request = message[0]
            operation = request.get("op")
            if operation == "signal":
                self._signal(int(request["signal"]))
                protocol.send(client, {"ok": True})
            elif operation == "rest":
                self._resting = False
                protocol.send(client, {"ok": True})
            elif operation == "wait":
                self._waiting.append(client.fileno())
            elif operation == "exec":
                self._open_session(request, client)
                return False
            else:
                protocol.send(client, {"error": {"class": "Unsupported", "message": f"unknown request {operation!r}"}})
        except EngineError as error:
            protocol.send(client, {"error": error.to_wire()})
        except (OSError, EOFError, ValueError):  # a client that breaks off or talks nonsense is its own loss
            return False
        return True

    def _signal(self, number: int) -> None:
        if not self._running:
            return
        self._signalled = number
        try:
            signal.pidfd_send_signal(self._run.pidfd, number)
        except ProcessLookupError:  # it has just ended; the exit record says how
            self._signalled = 0

    # The end of a run, and the next one

    def _reaped(self) -> int:
        return os.waitpid(self._facts["pid"], 0)[1]

    def _end(self) -> dict[str, Any]:
        """How it ended. Its output is in the log, its group is gone, its file system is not yet given up."""
        status = self._status()
        lost = sum(self._pump(output).drain() for output in self._run.outputs if available(output))
        group = self._group()
        oom = group.oom()
        code = None if status is None else os.waitstatus_to_exitcode(status)
        reasons = []
        if code is None:
            reasons.append("its shim was killed, so nobody saw the exit code")
        elif self._signalled and code:
            reasons.append(f"signal {self._signalled} was asked for")
        if lost:
            reasons.append(f"the disk was full, {lost} bytes of output are lost")
        try:
            manager.clear(group)
        except OSError as error:  # the engine clears it before the next start; the exit record must not wait for it
            print(f"wharfie shim: {error}", file=sys.stderr, flush=True)
        if self._run.checked:
            files.remove(self._request["health_record"])
        for descriptor in (self._run.pidfd, *self._run.outputs):
            self._poll.unregister(descriptor)
            os.close(descriptor)
        if self._run.input >= 0:
            os.close(self._run.input)
        self._run = self._run._replace(pidfd=-1, outputs=(), input=-1)
        return {
            "code": 128 - code if code is not None and code < 0 else code,
            "signal": -code if code is not None and code < 0 else None,
            "oom_killed": oom.kills > 0,
            "oom_limit_bytes": oom.limit_bytes,
            "asked_signal": self._signalled or None,
            "finished_at_ns": time.time_ns(),
            "reason": "; ".join(reasons),
            "restarts": self._restarts,
            "started_at_ns": self._facts["started_at_ns"],
        }

    def _give_up_files(self) -> None:
        """Close the last descriptors of its mounts and of the overlay, whose end writes back all that is dirty on the
        host's file system."""
        for descriptor in (self._run.tree, self._run.root):
            if descriptor >= 0:
                os.close(descriptor)
        self._run = self._run._replace(tree=-1, root=-1)

    def _pause(self, ended: dict[str, Any]) -> float | None:
        """How many seconds to wait before it is started again; None when it stays as it is."""
        if not restarts.again(self._request["restart"], ended["code"], self._restarts):
            return None
        return self._pauses.after(time.monotonic() - self._began)

    def _rest(self, ended: dict[str, Any], pause_s: float) -> None:
        """Wait for the next run. Not `_resting` any more when it was stopped meanwhile."""
        until = time.monotonic() + pause_s
        self._resting = True
        self._restarts += 1
        log = self._log  # known from the first run; the next one goes on with it
        record = {key: self._facts[key] for key in starter.RECORDED}
        self._history = [*self._history, ended][-HISTORY:]
        record |= {"restarts": self._restarts, "history": self._history, "resting": True}
        record["started_at_ns"] = ended["started_at_ns"]  # of a start that came to nothing too
        files.replace(self._request["record"], json.dumps(record).encode())
        wakeups.wake(self._request["events"])
        self._give_up_files()
        while self._resting and time.monotonic() < until:
            self._turn(until)
        if restarts.wish(self._request["restart"])[0] == restarts.NO:
            self._resting = False
        self._log_fd = log.fd

    def _again(self) -> dict[str, Any] | None:
        """Start it once more. None when it runs, else how that failed, told like the end of a run."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        child = self._fork("start")
        if not child:
            ours.close()
            starter.start_again(
                self._request["request"], theirs, {"restarts": self._restarts, "history": self._history}
            )
            os._exit(0)
        theirs.close()
        with ours:
            made = handover.take(ours)
        if isinstance(made, Handover):
            self._begin(made)
            self.see_off(child)
            return None
        os.waitpid(child, 0)
        for pid in set(process.children()) - {pid for pid, _ in self._children.values()}:  # its starter was killed
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        error = from_wire(made) if made else KernelError("its starter was killed")
        print(f"wharfie shim: starting it again: {error}", file=sys.stderr, flush=True)
        return {
            "code": error.exit_code, "signal": None, "oom_killed": False, "oom_limit_bytes": None,
            "asked_signal": None, "finished_at_ns": time.time_ns(), "restarts": self._restarts,
            "started_at_ns": time.time_ns(),
            "reason": f"it could not be started again: {error}",
        }  # fmt: skip

    def _finish(self, ended: dict[str, Any]) -> None:
        """It has ended for good: say so, and clear everything away."""
        request = self._request
        restarts.give_up(request["restart"])
        os.write(self._exit, json.dumps(ended | {"history": self._history}).encode())
        os.close(self._listener)  # who came too late to be heard looks at the record
        for descriptor in self._waiting:
            if descriptor in self._clients:
                try:
                    protocol.send(self._clients[descriptor], {"exit": ended})
                except OSError:  # it left; the record is there for whoever looks
                    continue
        os.fsync(self._exit)  # those who wait need not wait for the disk
        wakeups.wake(request["events"])
        self._give_up_files()  # nobody has to wait for that but the next start of this container
        directory, _, name = request["socket"].rpartition("/")
        for left in os.listdir(directory):
            if left.startswith(f"{request['id']}.") and left != name and left.endswith(".sock"):
                files.remove(f"{directory}/{left}")  # a session that was killed left it, or one is just ending
        for path in (
            request["socket"],
            request["request"],
            request["record"],
        ):  # the record last: it tells that we live
            os.unlink(path)

    def leave_engine(self) -> None:
        """The shim of a launcher that is gone may be the last of its instance, and then removes the engine's groups."""
        manager.leave_engine(self._request["instance"], self._request["groups_lock"])
