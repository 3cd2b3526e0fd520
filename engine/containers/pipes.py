"""A further command that runs with pipes, as its caller has it."""

from __future__ import annotations

import os
import select
import socket
import time
from types import TracebackType
from typing import Self

from engine.errors import Unavailable
from engine.linux import pidfds
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
        if not select.select([self._connection], (), (), timeout_s)[0]:
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

    def output(self, data: bytes = b"", timeout_s: float | None = None) -> tuple[int, bytes, bytes]:
        """Give it ``data``, and return its exit code and all that it wrote to stdout and stderr."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        parts: dict[int, list[bytes]] = {self.stdout: [], self.stderr: []}
        view, reading = memoryview(data), set(parts)
        if not view:
            self.close_stdin()
        while reading:
            readable, writable, _ = select.select(reading, [self.stdin] if view else (), (), _left(deadline))
            if not readable and not writable:
                raise _unended()
            for descriptor in readable:
                if chunk := os.read(descriptor, 65536):
                    parts[descriptor].append(chunk)
                else:
                    reading.discard(descriptor)
            if writable:
                try:
                    view = view[os.write(self.stdin, view[:4096]) :]
                except BrokenPipeError:  # it reads no more
                    view = view[:0]
                if not view:
                    self.close_stdin()
        return self.wait(_left(deadline)), b"".join(parts[self.stdout]), b"".join(parts[self.stderr])

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
