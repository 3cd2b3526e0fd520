"""What is kept of running containers, and new shims for those whose own was killed.

A child of the launcher does it, for a process that remembers things would make every shim forked from it heavier: each
page that it writes is one more that they do not share. The launcher, as whose child (PR_SET_CHILD_SUBREAPER) a killed
shim leaves its container, tells it who has ended, and how. Shims of an earlier launcher lend what they have, once this
one has started; their end is told by pidfds.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import ExitStack, suppress

from engine.launcher.apart import AFTER_FAILURE_S, apart
from engine.launcher.collect import collect
from engine.linux import files, pidfds, process, unix
from engine.shim import adoption, custody
from engine.shim.custody import Deposit

# Descriptors that are kept are at or above this, out of the way of those that a child is given.
FIRST_KEPT = 512
MAX_TRIES = 3  # new shims in a row for one container, none of which has lived for so long:
STEADY_S = 1.0
PREDECESSOR_S = 5.0
REMEMBERED = 64
ENDED = struct.Struct("<ii")  # pid, wait status


def begin(run: str, instance: str) -> tuple[int, int]:
    """Fork a keeper. Its pid, and the pipe on which it is to be told of each child that ended; it ends with that."""
    launcher = os.getpid()
    told, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(told)
        return pid, tell

    def work() -> None:
        process.set_name(b"wharfie-keeper")
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # Held until a launcher's death has been seen to: an end is not told before.
        lock = os.open(f"{run}/keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _succeeds(lock, told):
            keeper = Keeper(run, instance, launcher)
            keeper.see_off(collect(run, instance))
            keeper.serve(told, lock)  # until the launcher was killed: it ends no other way before this
        os.close(lock)

    apart(work, {told}, run, instance)


def _succeeds(lock: int, told: int) -> bool:
    """Wait until the keeper of before has ended, or does not get on; False when the launcher was killed meanwhile."""
    hung_up = select.poll()
    hung_up.register(told, 0)
    until = time.monotonic() + PREDECESSOR_S
    while True:
        if _taken(lock) or time.monotonic() > until:
            return True
        if hung_up.poll(10):
            return False


def _taken(lock: int) -> bool:
    """Whether it is ours, from now on if not before."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Keeper:
    """Deposits by shim."""

    def __init__(self, run: str, instance: str, launcher: int) -> None:
        self._run, self._instance = run, instance
        self._shims = f"{run}/shims"
        self._launcher = launcher
        self._door = unix.bind(f"{run}/custody.sock", socket.SOCK_DGRAM)
        self._poll = select.poll()
        self._poll.register(self._door.fileno(), select.POLLIN)
        self._kept: dict[int, Deposit] = {}
        self._watched: dict[int, int] = {}  # pidfd to pid, of shims that are no children of the launcher
        self._tellers: dict[int, tuple[int, int]] = {}  # by new shim: whose end it is told, and where
        self._ended: dict[int, int] = {}  # statuses of late, of processes that nobody has asked for yet
        self._due: list[Deposit] = []  # of which no new shim could be born
        self._due_s = 0.0  # when to try that again, by the monotonic clock
        self._tries: dict[str, tuple[int, float]] = {}  # new shims in a row, and when the last one was made

    def see_off(self, child: int) -> None:
        """Reap a child of its own when that ends."""
        self._watch(child)

    def serve(self, told: int, lock: int) -> None:
        """Until the launcher has ended. A keeper of before that did not get on lets go of the ``lock`` at last."""
        self._poll.register(told, select.POLLIN)
        held = False
        while True:
            held = held or _taken(lock)
            for descriptor, _ in self._poll.poll(AFTER_FAILURE_S * 1000 if self._due or not held else None):
                self._receive()  # what a shim deposited comes before its end
                if descriptor == told:
                    data = os.read(told, ENDED.size * 256)
                    if not data:
                        self._renew_all()
                        return
                    self._take(dict(ENDED.iter_unpack(data)))
                elif descriptor in self._watched:
                    self._poll.unregister(descriptor)
                    os.close(descriptor)
                    self._gone(self._watched.pop(descriptor))
            if self._due and time.monotonic() >= self._due_s:
                self._retry()

    def _receive(self) -> None:
        while (deposit := custody.receive(self._door)) is not None:
            try:
                self._keep(deposit)
            except OSError as error:  # too many open files: without it that container has one life less
                print(f"wharfie keeper: nothing is kept of {deposit.id}: {error}", file=sys.stderr, flush=True)

    def _keep(self, deposit: Deposit) -> None:
        before = self._kept.pop(deposit.shim, None)
        if before is None or before.pid != deposit.pid:
            self._ended.pop(deposit.pid, None)  # of another process, which had that number before
        _drop(before)
        self._kept[deposit.shim] = _lifted(deposit)
        try:
            if process.parent(deposit.shim) != self._launcher:
                self._watch(deposit.shim)
        except ProcessLookupError:  # it was killed before this was read
            self._renew(self._kept.pop(deposit.shim))

    def _watch(self, shim: int) -> None:
        if shim not in self._watched.values():
            pidfd = _raised(pidfds.of(shim))
            self._watched[pidfd] = shim
            self._poll.register(pidfd, select.POLLIN)

    def _take(self, statuses: dict[int, int]) -> None:
        """These children of the launcher have ended."""
        self._ended |= statuses
        for shim, (pid, teller) in list(self._tellers.items()):
            if pid in statuses:
                del self._tellers[shim]
                _tell(teller, statuses[pid])
        for pid, status in statuses.items():
            if pid in self._kept:
                self._over(self._kept.pop(pid), killed=status != 0)
        while len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def _gone(self, shim: int) -> None:
        """A watched one has ended; how, nobody says unless it is a child."""
        killed = True  # perhaps: one of an earlier launcher, or of this one by now
        with suppress(ChildProcessError):
            killed = os.waitpid(shim, 0)[1] != 0
        _, teller = self._tellers.pop(shim, (0, -1))
        if teller >= 0:
            os.close(teller)
        kept = self._kept.pop(shim, None)
        if kept is not None:
            self._over(kept, killed=killed)

    def _over(self, kept: Deposit, *, killed: bool) -> None:
        if killed:
            self._renew(kept)
        else:
            self._tries.pop(kept.id, None)
            _drop(kept)

    def _retry(self) -> None:
        due, self._due = self._due, []
        for kept in due:
            self._renew(kept)

    def _renew_all(self) -> None:
        """The launcher was killed, perhaps before it could tell whose shim was killed with it: those get a new one."""
        self._retry()
        for kept in list(self._kept.values()):
            try:
                pidfd = pidfds.of(kept.shim)
            except ProcessLookupError:
                self._renew(kept)
                continue
            if pidfds.ended(pidfd):
                self._renew(kept)
            os.close(pidfd)

    def _another_try(self, container_id: str) -> int:
        """How many there were in a row by now."""
        before, at = self._tries.get(container_id, (0, 0.0))
        now = time.monotonic()
        tries = 1 if now - at > STEADY_S else before + 1
        self._tries[container_id] = tries, now
        return tries

    def _renew(self, kept: Deposit) -> None:
        """A new shim for a container, unless the one before has done all that there was to do."""
        record = f"{self._shims}/{kept.id}.json"
        # One that runs is never given up: a new shim that fails pauses first, so that is once a second at most.
        there = os.path.exists(record)
        if not there or (self._another_try(kept.id) > MAX_TRIES and pidfds.ended(kept.pidfd)):
            if there:
                files.remove(record)  # then who looks says that nobody knows how it ended
            self._tries.pop(kept.id, None)
            _drop(kept)
            return
        try:
            child, writer = self._bear(kept)
        except OSError as error:  # processes, descriptors or memory are short: not for long, one hopes
            print(f"wharfie keeper: a new shim of {kept.id}: {error}", file=sys.stderr, flush=True)
            self._due.append(kept)
            self._due_s = time.monotonic() + AFTER_FAILURE_S
            self._tries.pop(kept.id, None)  # that was no shim that failed
            return
        self._kept[child] = kept._replace(shim=child)
        if kept.pid in self._ended:
            _tell(writer, self._ended[kept.pid])
        else:
            self._tellers[child] = kept.pid, writer
        try:
            self._watch(child)
        except OSError as error:
            print(f"wharfie keeper: {kept.id} has its last shim: {error}", file=sys.stderr, flush=True)

    def _bear(self, kept: Deposit) -> tuple[int, int]:
        """A child that becomes the shim, and the pipe on which it is told how the container ended."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        with ExitStack() as held, ExitStack() as unless:
            held.callback(os.close, reader)
            unless.callback(os.close, writer)
            claim = adoption.claimed(self._shims, kept.id, wait=False)
            if claim >= 0:
                held.callback(os.close, claim)
            child = os.fork()
            if not child:
                needed = {*kept.descriptors(), reader, claim}
                apart(lambda: self._become(kept, reader, claim), needed, self._run, self._instance)
            unless.pop_all()
        return child, writer

    def _become(self, kept: Deposit, status: int, claim: int) -> None:
        """In the child."""
        own = kept.moved(os.dup)  # low ones, as of any shim
        _drop(kept)
        adoption.adopt(self._shims, own.id, own, status, claim)


def _tell(teller: int, status: int) -> None:
    try:
        os.write(teller, adoption.STATUS.pack(status))
    except BrokenPipeError:  # that shim was killed too, and the next one is told
        return
    finally:
        os.close(teller)


def _raised(descriptor: int) -> int:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_KEPT)
    finally:
        os.close(descriptor)


def _lifted(deposit: Deposit) -> Deposit:
    """The same out of the way; on OSError none of it is left open."""
    with ExitStack() as unless:
        for descriptor in deposit.descriptors():
            unless.callback(os.close, descriptor)
        lifted = deposit.moved(lambda each: _copied(each, unless))
        unless.pop_all()
    _drop(deposit)
    return lifted


def _copied(descriptor: int, unless: ExitStack) -> int:
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_KEPT)
    unless.callback(os.close, copy)
    return copy


def _drop(kept: Deposit | None) -> None:
    for descriptor in kept.descriptors() if kept is not None else ():
        os.close(descriptor)
