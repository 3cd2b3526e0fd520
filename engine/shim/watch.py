"""Watch a run of a container: move its output, answer its control socket, check its health."""

from __future__ import annotations

import functools
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from engine.cgroups import manager
from engine.errors import Busy, WrongState
from engine.linux import pidfds, process
from engine.shim import ending, health, protocol, session, starter, terminal
from engine.shim.custody import Deposit
from engine.shim.door import Door, Operation
from engine.shim.errand import Errand
from engine.shim.handover import Handover
from engine.shim.outputs import Outputs
from engine.shim.stdio import Log

MAX_SESSIONS = 64
TRACED_S = 0.25  # between two looks at a child that has ended and is traced
ENDED_S = 1.0  # for commands that were killed with their container
NEVER = math.inf


class Watch:
    """The loop of a shim. Uses poll and plain descriptors: 11 of them, and nothing wakes it while nothing happens."""

    def __init__(self, first: Handover) -> None:
        """Take over what a starter has made."""
        self._first = first  # with which the log and the exit record came, for all runs
        self._children: dict[int, tuple[int, Callable[[int], None] | None]] = {}  # by pidfd: who, and whom it concerns
        self._errands: dict[int, Errand] = {}  # by door: those whose command does not run yet
        self._commands: set[int] = set()  # pidfds of the errands' children, and of a check
        self._traced: set[int] = set()  # those of children that have ended, but are somebody else's yet
        self._poll = select.poll()
        self._door = Door(first.listener, self._poll, self._operation)
        self._resting = False  # it waits for its next run
        self._begin(first)

    def _begin(self, run: Handover) -> None:
        """Watch one run, from now on."""
        self._run = run
        self._decoded: dict[str, Any] | None = None
        self._running = run.pidfd >= 0
        self._began = time.monotonic()
        self._checks = health.Schedule(self._request["health"]) if run.checked else None
        self._outputs = Outputs(run.outputs, self._poll, lambda: self._log)
        if self._running:
            self._poll.register(run.pidfd, select.POLLIN)
        if run.desk >= 0:
            self._seat()

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
        facts = self._first.facts()
        request = facts["request"]
        return Log(
            request["log"], request["log_segment_bytes"], request["log_segments"], self._first.log, **facts["log"]
        )

    def _group(self) -> manager.Group:
        return manager.group(self._request["instance"], self._request["id"])

    # The loop

    def watch(self) -> None:
        """Until its first process has ended."""
        while self._running:
            self._turn(min(self._outputs.retry_at, self._checks.due if self._checks else NEVER))
            self._outputs.retry()
            if self._checks and time.monotonic() >= self._checks.due and self._running:
                self._probe(self._checks)

    def _turn(self, until: float) -> None:
        """Wait for something, until a monotonic time at most, and attend to it."""
        if self._traced:
            until = min(until, time.monotonic() + TRACED_S)
        timeout_ms = None if until == NEVER else max(0.0, until - time.monotonic()) * 1000
        for descriptor, _ in self._poll.poll(timeout_ms):
            if descriptor in self._outputs.descriptors:
                self._outputs.move(descriptor)
            elif descriptor == self._run.pidfd:
                self._running = False
            elif descriptor in self._children:
                self._reap(descriptor)
            elif descriptor in self._errands:
                self._attend(self._errands[descriptor])
            else:
                self._door.attend(descriptor)
        for pidfd in tuple(self._traced):
            self._reap(pidfd)

    # Children

    def see_off(self, child: int, then: Callable[[int], None] | None = None, pidfd: int = -1) -> int:
        """Reap a child when it ends, close its ``pidfd``, which is returned, and tell ``then`` its wait status."""
        pidfd = os.pidfd_open(child) if pidfd < 0 else pidfd
        self._children[pidfd] = child, then
        self._poll.register(pidfd, select.POLLIN)
        return pidfd

    def _reap(self, pidfd: int) -> None:
        """Reap a child that has ended. One that another process of the container traces is that one's first, for as
        long as it likes; nobody waits for it, ptrace(2)."""
        child, then = self._children[pidfd]
        pid, status = os.waitpid(child, os.WNOHANG) if child else (0, 0)
        if pidfd not in self._traced:
            self._poll.unregister(pidfd)
        if pid != child:
            self._traced.add(pidfd)
            return
        del self._children[pidfd]
        self._traced.discard(pidfd)
        self._commands.discard(pidfd)
        try:
            if then is not None:
                then(status)
        finally:
            os.close(pidfd)

    def _reap_commands(self) -> None:
        """Reap the commands, and the check, that ended with the container, and tell those who wait for them."""
        until = time.monotonic() + ENDED_S
        while self._commands and time.monotonic() < until:
            for pidfd in tuple(self._commands):
                self._reap(pidfd)
            if self._commands:
                select.select((), (), (), 0.01)

    def _fork(self, name: str, *keep: int) -> int:
        """fork(2). The child has nothing of the shim's but its container and what it is about to use."""
        child = os.fork()
        if not child:
            process.set_name(f"{name} {self._request['id']}".encode())
            process.close_all_but(self._run.pidfd, *keep)
        return child

    def _leave(self, status: int) -> NoReturn:
        """The end of such a child: it may outlive shim and launcher, and be the last in the engine's groups."""
        try:
            manager.leave_engine(self._request["instance"], f"{self._request['events']}/../groups.lock")
        except OSError as error:
            print(f"wharfie shim: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)

    def _open_session(self, request: dict[str, Any], client: socket.socket) -> bool:
        """Run a command: by itself, or in a child, which has the caller from then on."""
        if len(self._children) >= MAX_SESSIONS:
            raise Busy(f"{MAX_SESSIONS} commands run in it already", hint="end one of them")
        if not self._running:
            raise WrongState("the container waits to be started again", hint="try again when it runs")
        if not request["tty"] and request["op"] == "exec":
            errand = Errand(request, client, self._run.pidfd, self._request["uid_base"], self._group())
            self._errands[errand.door] = errand
            self._poll.register(errand.door, select.POLLIN)
            self._commands.add(self.see_off(errand.pid, lambda status: self._reaped(errand, status), errand.pidfd))
            return False
        child = self._fork("exec", client.fileno())
        if child:
            self.see_off(child)
            return False
        status = 1
        try:
            client.settimeout(None)
            session.run(request, client, self._run.pidfd, self._request["uid_base"], self._group())
            status = 0
        finally:
            self._leave(status)

    def _attend(self, errand: Errand) -> None:
        errand.attend()
        if errand.runs:
            del self._errands[errand.door]
            self._poll.unregister(errand.door)

    def _reaped(self, errand: Errand, status: int) -> None:
        while not errand.runs:
            self._attend(errand)
        errand.ended(status)

    def _seat(self) -> None:
        """Serve the terminal of its first process, in a child that is replaced when it is killed: the other end of the
        terminal is here too, so the program notices nothing."""
        run = self._run
        # Read-write, so that it does not die of SIGPIPE while nobody reads: a shim that was killed is replaced.
        copy = os.open(f"/proc/self/fd/{run.outputs[0]}", os.O_RDWR | os.O_CLOEXEC)
        child = self._fork("tty", run.input, run.desk, copy)
        if child:
            os.close(copy)
            self.see_off(child, lambda status: self._reseat(run, status))
            return
        status = 1
        try:
            terminal.attend_first(self._facts, run.input, run.pidfd, run.desk, copy)
            status = 0
        finally:
            self._leave(status)

    def _reseat(self, run: Handover, status: int) -> None:
        """Only if it was killed: what fails by itself would fail again, without an end."""
        if self._running and self._run is run and os.WIFSIGNALED(status):
            self._seat()

    def look_after(self, server: int) -> None:
        """The same for one that serves the terminal already, for a shim that was killed."""
        pidfd = pidfds.of(server)
        self._children[pidfd] = 0, lambda _status: self.sit_down_again()
        self._poll.register(pidfd, select.POLLIN)

    def sit_down_again(self) -> None:
        """Serve its terminal anew."""
        if self._running:
            self._run = self._run._replace(desk=protocol.listen(self._request["terminal"]).detach())
            self._seat()

    def _probe(self, checks: health.Schedule) -> None:
        """Run the health check, in a child that keeps its own accounts."""
        grace = checks.begin()
        child = self._fork("health")
        if child:
            self._commands.add(self.see_off(child, checks.ended))  # what it writes is of this run
            return
        status = 1
        try:
            status = 0 if health.probe(self._request, self._run.pidfd, self._group(), grace=grace) else 1
        finally:
            self._leave(status)

    # The control socket

    def _operation(self, name: str) -> Operation | None:
        known = {"signal": self._signal, "rest": self._stay_ended, "exec": self._open_session,
                 "toolbox": self._open_session, "lend": self._lend, "input": self._give_input}  # fmt: skip
        return known.get(name)

    def _signal(self, request: dict[str, Any], client: socket.socket) -> bool:
        number = int(request["signal"])
        if self._running:
            ending.note_asked(self._request["record"], self._facts["started_at_ns"], number)
            try:
                signal.pidfd_send_signal(self._run.pidfd, number)
            except ProcessLookupError:  # it has just ended; the exit record says how
                ending.note_asked(self._request["record"], 0, 0)
        protocol.send(client, {"ok": True})
        return True

    def _give_input(self, _request: dict[str, Any], client: socket.socket) -> bool:
        """The write end of its standard input."""
        if self._run.input < 0 or not self._request["stdin"]:
            raise WrongState("nobody can type to it", hint="somebody has taken its input, or it has none")
        protocol.send(client, {"ok": True}, [self._run.input])
        if self._request["stdin"] == starter.ONCE:  # so it ends when that one closes it
            os.close(self._run.input)
            self._run = self._run._replace(input=-1)
        return True

    def _lend(self, _request: dict[str, Any], client: socket.socket) -> bool:
        """To a keeper that was started later: what its predecessor had."""
        with self.deposit() as kept:
            message = {"shim": kept.shim, "pid": kept.pid, "outputs": len(kept.outputs)}
            protocol.send(client, message, kept.descriptors())
        return True

    @contextmanager
    def deposit(self) -> Iterator[Deposit]:
        """What a keeper is to have. While it waits for its next run that is nothing but the shim's own life."""
        pidfd = self._run.pidfd if self._running else os.pidfd_open(os.getpid())
        kept = -1 if self._request["stdin"] == starter.ONCE else self._run.input
        try:
            yield Deposit(os.getpid(), self._facts["pid"], self._request["id"], pidfd, self._outputs.descriptors, kept)
        finally:
            if pidfd != self._run.pidfd:
                os.close(pidfd)

    def _stay_ended(self, _request: dict[str, Any], client: socket.socket) -> bool:
        self._resting = False
        protocol.send(client, {"ok": True})
        return True
