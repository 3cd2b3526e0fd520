"""A further command that runs with pipes, as its caller has it."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from types import TracebackType
from typing import Self

from engine.errors import Unavailable
from engine.linux import files, pidfds
from engine.shim import protocol

REAPED_S = 1.0  # a command whose shim was killed has another parent, which sees to it soon


class Execution:
    """A command that runs in a container, with pipes that the caller reads and writes: plain descriptors.

    Closing it leaves the command running. ``stdin`` must be closed by whoever has no more input for it.
    """

    def __init__(self, connection: socket.socket, pid: int, descriptors: list[int]) -> None:
        self.pid = pid  # in the host's pid namespace
        self.stdin, self.stdout, self.stderr, *more = descriptors
        self._pidfd = more[0] if more else -1  # a shim of an older version sends none
        self._connection = connection

    def wait(self, timeout_s: float | None = None) -> int:
        """Its exit code. Unavailable after ``timeout_s``; and, before Linux 6.15, when its shim was killed."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if not files.readable([self._connection.fileno()], timeout_s):
            raise _unended()
        answer = protocol.receive(self._connection)
        if answer is not None:
            return int(answer[0]["exit"]["code"])
        if self._pidfd >= 0:  # the command goes on without its shim
            if not pidfds.ended(self._pidfd, _left(deadline)):
                raise _unended()
            status = pidfds.reaped(self._pidfd, REAPED_S)
            if status is not None:
                return int(protocol.exited(status)["code"])
        raise Unavailable("nobody saw the command's exit code", hint="its shim was killed")

    def output(
        self, data: bytes = b"", timeout_s: float | None = None, most_bytes: int = sys.maxsize
    ) -> tuple[int, bytes, bytes]:
        """Give it ``data``, and return its exit code and what it wrote to stdout and stderr, of each ``most_bytes`` at
        most: the rest is read and forgotten. Unavailable when it goes on for longer than ``timeout_s``."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        parts = {self.stdout: bytearray(), self.stderr: bytearray()}
        view, reading = memoryview(data), set(parts)
        if not view:
            self.close_stdin()
        while reading:
            poll = select.poll()
            for descriptor in reading:
                poll.register(descriptor, select.POLLIN)
            if view:
                poll.register(self.stdin, select.POLLOUT)
            left = _left(deadline)
            ready = [descriptor for descriptor, _ in poll.poll(None if left is None else left * 1000)]
            if not ready or left == 0:
                raise _unended()
            for descriptor in reading & set(ready):
                if chunk := os.read(descriptor, 65536):
                    parts[descriptor] += chunk[: most_bytes - len(parts[descriptor])]
                else:
                    reading.discard(descriptor)
            if self.stdin in ready:
                try:
                    view = view[os.write(self.stdin, view[:4096]) :]
                except BrokenPipeError:  # it reads no more
                    view = view[:0]
                if not view:
                    self.close_stdin()
        return self.wait(_left(deadline)), bytes(parts[self.stdout]), bytes(parts[self.stderr])

    def close_stdin(self) -> None:
        """Its input ends."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Leave it alone."""
        self.close_stdin()
        for descriptor in (self.stdout, self.stderr, self._pidfd):
            if descriptor >= 0:
                os.close(descriptor)
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _unended() -> Unavailable:
    return Unavailable("the command has not ended", hint="wait longer")
