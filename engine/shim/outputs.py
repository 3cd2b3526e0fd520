"""What a run writes, on its way into the log, also when the disk is full."""

from __future__ import annotations

import math
import os
import select
import sys
import time
from collections.abc import Callable

from engine.shim.stdio import STDERR, STDOUT, Log, Pump, available

FULL_RETRY_S = 0.5
WRITERS_S = 2.0
STREAMS = (STDOUT, STDERR)


class Outputs:
    """The read ends of a run's pipes, on the shim's own poll object."""

    def __init__(self, descriptors: tuple[int, ...], poll: select.poll, log: Callable[[], Log]) -> None:
        """``log`` is asked when there is something to write: until then its pages are the launcher's."""
        self.descriptors = descriptors
        self.retry_at = math.inf  # monotonic; when to look again whether a full disk has room
        self._poll = poll
        self._log = log
        self._pumps: dict[int, Pump] = {}
        self._full = False  # and that is said, once for as long as it lasts: where it is written is in memory
        self._listen()

    def _listen(self) -> None:
        for descriptor in self.descriptors:
            self._poll.register(descriptor, select.POLLIN)

    def _pump(self, descriptor: int) -> Pump:
        if descriptor not in self._pumps:
            self._pumps[descriptor] = Pump(self._log(), STREAMS[self.descriptors.index(descriptor)], descriptor)
        return self._pumps[descriptor]

    def move(self, descriptor: int) -> None:
        """Take what one holds. On a full disk it stays, and a container that goes on writing waits for that."""
        if self.retry_at != math.inf:
            return
        moved = self._pump(descriptor).move()
        if not moved:
            if not self._full:
                where = self._log().directory
                print(f"wharfie shim: the disk is full, and output for {where} waits", file=sys.stderr, flush=True)
            self.retry_at = time.monotonic() + FULL_RETRY_S
            for each in self.descriptors:
                self._poll.unregister(each)
        self._full = not moved

    def retry(self) -> None:
        """Look again, at `retry_at`."""
        if time.monotonic() >= self.retry_at:
            self.retry_at = math.inf
            self._listen()

    def finish(self) -> None:
        """Wait for the writers that are the host's own to have written all, a moment at most: they copy what a terminal
        shows."""
        until = time.monotonic() + WRITERS_S
        for descriptor in self.descriptors:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            while self.retry_at == math.inf and (left_s := until - time.monotonic()) > 0:
                ready = poll.poll(left_s * 1000)
                if ready and not ready[0][1] & select.POLLIN:  # POLLHUP alone: all have closed it
                    break
                if ready:
                    self.move(descriptor)

    def end(self) -> int:
        """Take the rest, after the last writer has ended, and close them; how many bytes there was no room for."""
        lost = sum(self._pump(each).drain() for each in self.descriptors if available(each))
        for each in self.descriptors:
            if self.retry_at == math.inf:
                self._poll.unregister(each)
            os.close(each)
        self.descriptors = ()
        return lost
