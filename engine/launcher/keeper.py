"""What the launcher keeps of running containers, and new shims for those whose own was killed.

A shim of this launcher is its child: its end is told by SIGCHLD, and its orphan, the container's first process, becomes
a child too. Shims of an earlier launcher lend what they have, once this one has started; theirs is told by pidfds.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from engine.linux import files, process, unix
from engine.shim import adoption, custody, protocol
from engine.shim.custody import Deposit

# Descriptors that are kept are at or above this: a child closes them all with one system call.
FIRST_KEPT = 512
MAX_TRIES = 3  # new shims in a row for one container
LENDING_S = 5.0


class Keeper:
    """Deposits by shim, on the poll objects of the launcher."""

    def __init__(self, run: str, polls: tuple[select.poll, ...]) -> None:
        self._shims = f"{run}/shims"
        self._door = custody.listen(f"{run}/custody.sock")
        self._polls = polls
        self._kept: dict[int, Deposit] = {}
        self._watched: dict[int, int] = {}  # pidfd to pid, of shims that are no children
        self._tellers: dict[int, int] = {}  # first process to the pipe on which its new shim is told of its end
        self._tries: dict[str, int] = {}
        self._register(self._door.fileno())

    def fileno(self) -> int:
        """Where deposits arrive."""
        return self._door.fileno()

    def _register(self, descriptor: int) -> None:
        for poll in self._polls:
            poll.register(descriptor, select.POLLIN)

    def __bool__(self) -> bool:
        return bool(self._kept)

    def attend(self, descriptor: int) -> bool:
        """To a deposit, or to the end of a watched shim; False when the descriptor is neither."""
        if descriptor == self._door.fileno():
            while (deposit := custody.receive(self._door)) is not None:
                try:
                    self._keep(deposit)
                except OSError as error:  # too many open files: without it that container has one life less
                    print(f"wharfie launcher: nothing is kept of {deposit.id}: {error}", file=sys.stderr, flush=True)
            return True
        if descriptor not in self._watched:
            return False
        for poll in self._polls:
            poll.unregister(descriptor)
        os.close(descriptor)
        kept = self._kept.pop(self._watched.pop(descriptor), None)
        if kept is not None:
            self._renew(kept, None, ours=False)
        return True

    def _keep(self, deposit: Deposit) -> None:
        raised = [_raised(descriptor) for descriptor in deposit.descriptors()]
        outputs = tuple(raised[1 : 1 + len(deposit.outputs)])
        kept = deposit._replace(pidfd=raised[0], outputs=outputs, input=raised[-1] if deposit.input >= 0 else -1)
        _drop(self._kept.pop(deposit.shim, None))
        try:
            ours = process.parent(deposit.shim) == os.getpid()
        except ProcessLookupError:  # it was killed, and reaped, before this was read
            self._renew(kept, None, ours=True)
            return
        self._kept[deposit.shim] = kept
        if not ours and deposit.shim not in self._watched.values():
            pidfd = _raised(os.pidfd_open(deposit.shim))
            self._watched[pidfd] = deposit.shim
            self._register(pidfd)

    def reaped(self, statuses: dict[int, int]) -> None:
        """These children have ended."""
        for pid, status in statuses.items():
            if pid in self._tellers:
                self._tell(self._tellers.pop(pid), status)
        for pid, status in statuses.items():
            kept = self._kept.pop(pid, None)
            if kept is not None and status:
                self._renew(kept, statuses.get(kept.pid), ours=True)
            elif kept is not None:
                self._tries.pop(kept.id, None)
                _drop(kept)

    @staticmethod
    def _tell(teller: int, status: int) -> None:
        try:
            os.write(teller, adoption.STATUS.pack(status))
        except BrokenPipeError:  # that shim was killed too, and the next one asks the kernel
            return
        finally:
            os.close(teller)

    def _renew(self, kept: Deposit, status: int | None, *, ours: bool) -> None:
        """A new shim for a container; ``ours``: its first process is our child, with this wait status if it ended."""
        record = f"{self._shims}/{kept.id}.json"
        tries = self._tries[kept.id] = self._tries.get(kept.id, 0) + 1
        if not os.path.exists(record) or tries > MAX_TRIES:
            files.remove(record)  # then who looks says that nobody knows how it ended
            self._tries.pop(kept.id)
            _drop(kept)
            return
        reader, writer = os.pipe2(os.O_CLOEXEC) if ours else (-1, -1)
        child = os.fork()
        if not child:
            low = [os.dup(descriptor) for descriptor in kept.descriptors()]
            kept = kept._replace(
                pidfd=low[0], outputs=tuple(low[1 : 1 + len(kept.outputs)]), input=low[-1] if kept.input >= 0 else -1
            )
            if writer >= 0:
                os.close(writer)
            _run(lambda: adoption.adopt(self._shims, kept.id, kept, reader), {*low, reader})
        self._kept[child] = kept._replace(shim=child)
        if ours:
            os.close(reader)
            if status is None:
                self._tellers[kept.pid] = _raised(writer)
            else:
                self._tell(writer, status)


def collect(run: str) -> None:
    """In a child, when a launcher starts: have shims lend what they have, and give those a new one that have none."""
    if os.fork():
        return

    def work() -> None:
        shims, boot = f"{run}/shims", process.boot_id()
        for name in os.listdir(shims):
            container_id, dot, kind = name.partition(".")
            if (dot, kind) != (".", "json"):
                continue
            try:
                with open(f"{shims}/{name}", "rb") as file:
                    record = json.load(file)
                if record["boot_id"] != boot:
                    for left in ("sock", "request", "health", "json"):
                        files.remove(f"{shims}/{container_id}.{left}")
                elif process.start_time(record["shim_pid"]) == record["shim_start_time"]:
                    _borrow(shims, container_id, f"{run}/custody.sock")
                elif not os.fork():
                    _run(lambda each=container_id: adoption.adopt(shims, each, None, -1), set())  # type: ignore[misc]
            except (OSError, ValueError, KeyError) as error:  # it has just ended, or its record is damaged; next
                print(f"wharfie launcher: {name}: {error!r}", file=sys.stderr, flush=True)

    _run(work, set())


def _borrow(shims: str, container_id: str, path: str) -> None:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    directory_fd = os.open(shims, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with door:
        try:
            door.settimeout(LENDING_S)
            door.connect(unix.address(directory_fd, f"{container_id}.sock"))
            protocol.send(door, {"op": "lend"})
            answer = protocol.receive(door)
        finally:
            os.close(directory_fd)
    if answer is None or "error" in answer[0]:  # it rests, or is of an older Wharfie
        return
    message, fds = answer
    outputs = tuple(fds[1 : 1 + message["outputs"]])
    kept = Deposit(message["shim"], message["pid"], container_id, fds[0], outputs, fds[-1] if message["input"] else -1)
    kept.send(path)
    for descriptor in fds:
        os.close(descriptor)


def _run(work: Callable[[], None], needed: set[int]) -> NoReturn:
    """In a child: none of the launcher's descriptors but these and its streams, then ``work``, then the end."""
    status = 1
    try:
        first = 3
        for descriptor in sorted(needed - {-1}):
            os.closerange(first, descriptor)
            first = descriptor + 1
        process.close_from(first)
        work()
        status = 0
    except BaseException as error:
        print(f"wharfie launcher: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(status)


def _raised(descriptor: int) -> int:
    raised = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_KEPT)
    os.close(descriptor)
    return raised


def _drop(kept: Deposit | None) -> None:
    for descriptor in kept.descriptors() if kept is not None else ():
        os.close(descriptor)
