"""Watch one container, run by run: move its output, answer its control socket, learn how each run ended."""

from __future__ import annotations

import functools
import json
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from engine.cgroups import manager
from engine.errors import Busy, KernelError, WrongState, from_wire
from engine.linux import files, process
from engine.shim import ending, handover, health, protocol, restarts, session, starter
from engine.shim.door import Door, Operation
from engine.shim.handover import Handover
from engine.shim.outputs import Outputs
from engine.shim.stdio import Log
from engine.storage import wakeups

MAX_SESSIONS = 64
NEVER = math.inf
HISTORY = 8


class Supervisor:
    """The loop of a shim. Uses poll and plain descriptors: 11 of them, and nothing wakes it while nothing happens."""

    def __init__(self, first: Handover, status: Callable[[], int | None] | None = None) -> None:
        """Take over what a starter has made; ``status`` tells how its first process ended, if that is no child."""
        self._exit, self._log_fd = first.exit, first.log
        self._children: dict[int, tuple[int, Callable[[int], None] | None]] = {}  # by pidfd: who, and whom it concerns
        self._poll = select.poll()
        self._door = Door(first.listener, self._poll, self._operation)
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
        self._running = True
        self._signalled = 0
        self._began = time.monotonic()
        self._checks = health.Schedule(self._request["health"]) if run.checked else None
        self._outputs = Outputs(run.outputs, self._poll, lambda: self._log)
        self._poll.register(run.pidfd, select.POLLIN)

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
            self._turn(min(self._outputs.retry_at, self._checks.due if self._checks else NEVER))
            self._outputs.retry()
            if self._checks and time.monotonic() >= self._checks.due and self._running:
                self._probe(self._checks)

    def _turn(self, until: float) -> None:
        """Wait for something, until a monotonic time at most, and attend to it."""
        timeout_ms = None if until == NEVER else max(0.0, until - time.monotonic()) * 1000
        for descriptor, _ in self._poll.poll(timeout_ms):
            if descriptor in self._outputs.descriptors:
                self._outputs.move(descriptor)
            elif descriptor == self._run.pidfd:
                self._running = False
            elif descriptor in self._children:
                self._poll.unregister(descriptor)
                child, then = self._children.pop(descriptor)
                os.close(descriptor)
                status = os.waitpid(child, 0)[1]
                if then is not None:
                    then(status)
            else:
                self._door.attend(descriptor)

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
            unused = (
                self._run.root,
                self._run.tree,
                self._exit,
                self._log_fd,
                self._door.listener,
                *self._outputs.descriptors,
            )
            for descriptor in unused:
                if descriptor >= 0:
                    os.close(descriptor)
        return child

    def _open_session(self, request: dict[str, Any], client: socket.socket) -> bool:
        """In a child, which has the caller from then on."""
        if len(self._children) >= MAX_SESSIONS:
            raise Busy(f"{MAX_SESSIONS} commands run in it already", hint="end one of them")
        if not self._running:
            raise WrongState("the container waits to be started again", hint="try again when it runs")
        child = self._fork("exec")
        if child:
            self.see_off(child)
            return False
        status = 1
        try:
            client.settimeout(None)
            session.run(request, client, self._run.pidfd, self._request["uid_base"], self._group())
            status = 0
        finally:
            os._exit(status)

    def _probe(self, checks: health.Schedule) -> None:
        """Run the health check, in a child that keeps its own accounts."""
        grace = checks.begin()
        child = self._fork("health")
        if child:
            self.see_off(child, checks.ended)
            return
        status = 1
        try:
            status = 0 if health.probe(self._request, self._run.pidfd, self._group(), grace=grace) else 1
        finally:
            os._exit(status)

    # The control socket

    def _operation(self, name: str) -> Operation | None:
        return {"signal": self._signal, "rest": self._stay_ended, "exec": self._open_session}.get(name)

    def _signal(self, request: dict[str, Any], client: socket.socket) -> bool:
        number = int(request["signal"])
        if self._running:
            self._signalled = number
            try:
                signal.pidfd_send_signal(self._run.pidfd, number)
            except ProcessLookupError:  # it has just ended; the exit record says how
                self._signalled = 0
        protocol.send(client, {"ok": True})
        return True

    def _stay_ended(self, _request: dict[str, Any], client: socket.socket) -> bool:
        self._resting = False
        protocol.send(client, {"ok": True})
        return True

    # The end of a run, and the next one

    def _reaped(self) -> int:
        return os.waitpid(self._facts["pid"], 0)[1]

    def _end(self) -> dict[str, Any]:
        """How it ended. Its output is in the log, its group is gone, its file system is not yet given up."""
        status = self._status()
        lost = self._outputs.end()
        group = self._group()
        ended = ending.record(status, group.oom(), self._signalled, lost)
        ended |= {"restarts": self._restarts, "started_at_ns": self._facts["started_at_ns"]}
        try:
            manager.clear(group)
        except OSError as error:  # the engine clears it before the next start; the exit record must not wait for it
            print(f"wharfie shim: {error}", file=sys.stderr, flush=True)
        if self._run.checked:
            files.remove(self._request["health_record"])
        self._poll.unregister(self._run.pidfd)
        os.close(self._run.pidfd)
        if self._run.input >= 0:
            os.close(self._run.input)
        self._run = self._run._replace(pidfd=-1, input=-1)
        return ended

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
        return ending.failure(error) | {"restarts": self._restarts}

    def _finish(self, ended: dict[str, Any]) -> None:
        """It has ended for good: say so, and clear everything away."""
        request = self._request
        restarts.give_up(request["restart"])
        os.write(self._exit, json.dumps(ended | {"history": self._history}).encode())
        self._door.close(ended)
        os.fsync(self._exit)  # those who wait need not wait for the disk
        wakeups.wake(request["events"])
        self._give_up_files()  # nobody has to wait for that but the next start of this container
        ending.clear_away(request)

    def leave_engine(self) -> None:
        """The shim of a launcher that is gone may be the last of its instance, and then removes the engine's groups."""
        manager.leave_engine(self._request["instance"], self._request["groups_lock"])
