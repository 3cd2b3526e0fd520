"""Feed a reader that works in another process, and wait for its answer."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def feed(call: Callable[[int], T], chunks: Iterable[bytes]) -> tuple[T, bool]:
    """Have ``call`` read, in a thread of its own, a stream that this one fills. Its answer, and whether it took all.

    What ``chunks`` raise ends the stream, and is raised when the call has come back; else what the call raises.
    """
    ours, theirs = socket.socketpair()

    def run() -> T:
        try:
            return call(theirs.fileno())
        finally:
            theirs.shutdown(socket.SHUT_RDWR)  # our own copy would keep the feeder waiting for a reader

    complete = True
    with theirs, ThreadPoolExecutor(1, thread_name_prefix="feed") as pool, ours:
        answer = pool.submit(run)
        for data in chunks:
            try:
                ours.sendall(data)
            except (BrokenPipeError, ConnectionResetError):  # a reader that is gone says why
                complete = False
                break
    return answer.result(), complete
