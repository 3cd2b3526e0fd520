"""See a container through, run by run: learn how each ended, start it again if that is wished, and clear it away."""

from __future__ import annotations

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
from engine.errors import KernelError, from_wire
from engine.linux import files, pidfds, process
from engine.shim import ending, handover, starter
from engine.shim import restarts as policy
from engine.shim.handover import Handover
from engine.shim.watch import ENDED_S, Watch
from engine.storage import wakeups

HISTORY = 8


class Supervisor(Watch):
    """The life of a shim."""

    def __init__(
        self, first: Handover, status: Callable[[], int | None] | None = None, *,
        began: float | None = None, restarts: int = 0, history: list[dict[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        """Take over what a starter has made; ``status`` tells how its first process ended, if that is no child.

        ``began`` is when its run did, monotonic, if that is not now. The rest is of earlier runs: how many, and how the
        last of them ended.
        """
        super().__init__(first)
        if began is not None:
            self._began = began
        self._status = status
        self._restarts = restarts
        self._history = history or []  # for who has not looked since
        self._pauses = policy.Pauses()

    def run(self, ended: dict[str, Any] | None = None) -> None:
        """Until the container has ended for good and everybody knows; ``ended``: it waits for its next run already."""
        if ended is None:
            self.watch()
            ended = self._end()
        while (pause_s := self._pause(ended)) is not None:
            self._rest(ended, pause_s)
            if not self._resting:
                break
            self._began = time.monotonic()  # should it come to nothing, it has lasted no time
            failed = self._again()
            if failed is None:
                self.watch()
                ended = self._end()
            else:
                ended = ended | failed
        self._finish(ended)

    def _end(self) -> dict[str, Any]:
        """How it ended. Its output is in the log, its group is gone, its file system is not yet given up."""
        status = self._status() if self._status else self._first_status()
        if self._request["tty"]:
            self._outputs.finish()
        group = self._group()
        try:
            group.kill()  # with processes that it shares with others, some of its own may write on
        except OSError as error:  # descriptors are short, say
            print(f"wharfie shim: {error}", file=sys.stderr, flush=True)
        lost = self._outputs.end()
        began_ns = self._facts["started_at_ns"]
        asked = ending.asked_for(self._request["record"], began_ns)
        ended = ending.record(status, ending.oom(group), asked, lost) | {
            "restarts": self._restarts,
            "started_at_ns": began_ns,
        }
        try:
            manager.clear(group)
        except OSError as error:  # somebody hangs in the kernel, for whom the exit record must not wait
            print(f"wharfie shim: {error}", file=sys.stderr, flush=True)
        self._reap_commands()
        if self._run.pidfd >= 0:
            self._poll.unregister(self._run.pidfd)
            os.close(self._run.pidfd)
        for descriptor in (self._run.input, self._run.desk):
            if descriptor >= 0:
                os.close(descriptor)
        self._run = self._run._replace(pidfd=-1, input=-1, desk=-1)
        return ended

    def _first_status(self) -> int | None:
        """The wait status of its first process. Another one that traces it has that first, and may never let go: then
        what the kernel tells of it, or None."""
        until = time.monotonic() + ENDED_S
        while True:
            pid, status = os.waitpid(self._facts["pid"], os.WNOHANG)
            if pid:
                return status
            if time.monotonic() > until:
                return pidfds.exit_status(self._run.pidfd)
            select.select((), (), (), 0.01)

    def _give_up_files(self) -> None:
        """Close the last descriptors of its mounts and of the overlay, whose end writes back all that is dirty on the
        host's file system."""
        for descriptor in (self._run.tree, self._run.root):
            if descriptor >= 0:
                os.close(descriptor)
        self._run = self._run._replace(tree=-1, root=-1)

    def _pause(self, ended: dict[str, Any]) -> float | None:
        """How many seconds to wait before it is started again; None when it stays as it is."""
        if not policy.again(self._request["restart"], ended["code"], self._restarts):
            return None
        return self._pauses.after(time.monotonic() - self._began)

    def _rest(self, ended: dict[str, Any], pause_s: float) -> None:
        """Wait for the next run. Not `_resting` any more when it was stopped meanwhile."""
        until = time.monotonic() + pause_s
        self._resting = True
        self._restarts += 1
        record = {key: self._facts[key] for key in starter.RECORDED}
        self._history = [*self._history, ended][-HISTORY:]
        record |= {"restarts": self._restarts, "history": self._history, "resting": True}
        record["started_at_ns"] = ended["started_at_ns"]  # of a start that came to nothing too
        files.replace(self._request["record"], json.dumps(record).encode())
        wakeups.wake(self._request["events"])
        self._give_up_files()
        while self._resting and time.monotonic() < until:
            self._turn(until)
        if policy.wish(self._request["restart"])[0] == policy.NO:
            self._resting = False

    def _again(self) -> dict[str, Any] | None:
        """Start it once more. None when it runs, else how that failed, told like the end of a run."""
        files.remove(self._request["health_record"])  # of the run before
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        child = self._fork("start", theirs.fileno())
        if not child:
            again = {"restarts": self._restarts, "history": self._history}
            try:
                starter.start_again(self._request["request"], theirs, again)
            finally:
                self._leave(0)
        theirs.close()
        with ours:
            made = handover.take(ours)
        if isinstance(made, Handover):
            self._status = None  # the next one is a child
            self._begin(made)
            self.see_off(child)
            return None
        os.waitpid(child, 0)
        for pid in set(process.children()) - {pid for pid, _ in self._children.values()}:  # its starter was killed
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if policy.wish(self._request["restart"])[0] == policy.NO:
            return {}  # it was stopped meanwhile, and stays as it is
        error = from_wire(made) if made else KernelError("its starter was killed")
        print(f"wharfie shim: starting it again: {error}", file=sys.stderr, flush=True)
        return ending.failure(error, self._history[-1]["started_at_ns"]) | {"restarts": self._restarts}

    def _finish(self, ended: dict[str, Any]) -> None:
        """It has ended for good: say so, and clear everything away."""
        request = self._request
        policy.give_up(request["restart"])
        told = json.dumps(ended | {"history": self._history}).encode()
        files.write_all(self._first.exit, told)
        os.ftruncate(self._first.exit, len(told))
        self._door.close(ended)
        os.fsync(self._first.exit)  # those who wait need not wait for the disk
        wakeups.wake(request["events"])
        self._give_up_files()  # nobody has to wait for that but the next start of this container
        ending.clear_away(request, self._group())
