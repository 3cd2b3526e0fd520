"""Processes of a control group, from /proc: one file each where nothing is new; proc_pid_stat(5)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from engine.metrics.spec import Process

TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
IDS = 65536  # of a container
MOST_COMMAND = 4096  # bytes


class _Details(NamedTuple):
    """What hardly ever changes while a process lives."""

    since_ns: int
    name: bytes
    pid_inside: int
    uid: int
    command: str


class ProcessReader:
    """Reads processes of one container, again and again. Not for several threads at once."""

    def __init__(self, uid_base: int, since_ns: Callable[[], int] = lambda: 0) -> None:
        """``since_ns`` tells when the container started last: its first process was forked ahead of that, for whoever
        comes."""
        self._uid_base = uid_base  # 0: ids are the host's
        self._since_ns = since_ns
        self._known: dict[tuple[int, int], _Details] = {}

    def read(self, pids: Iterable[int]) -> list[Process]:
        """What these processes are and use; one that ended meanwhile is left out."""
        began = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        known, found = {}, []
        for pid in pids:
            try:
                with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
                    before, _, rest = file.read().rpartition(b")")
                name, fields = before.partition(b"(")[2], rest.split()
                key = pid, int(fields[19])
                details = self._known.get(key)
                if details is None or details.name != name:  # execve(2) gives a process another name, mostly
                    details = self._details(pid, name)
            except (FileNotFoundError, ProcessLookupError):
                continue
            known[key] = details
            found.append(
                Process(
                    pid=pid,
                    pid_inside=details.pid_inside,
                    start_time=key[1],
                    uid=details.uid,
                    name=name.decode(errors="replace"),
                    command=details.command,
                    state=fields[0].decode(),
                    threads=int(fields[17]),
                    cpu_time_ns=(int(fields[11]) + int(fields[12])) * TICK_NS,
                    memory_bytes=int(fields[21]) * PAGE_BYTES,
                    started_at_ns=max(details.since_ns, began + key[1] * TICK_NS),
                )
            )
        self._known = known
        return found

    def _details(self, pid: int, name: bytes) -> _Details:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            lines = dict(line.partition(b":")[::2] for line in file.read().splitlines())
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            words = file.read(MOST_COMMAND).rstrip(b"\0").replace(b"\0", b" ")
        pids = [int(each) for each in lines[b"NSpid"].split()]
        uid = int(lines[b"Uid"].split()[1])
        inside = uid - self._uid_base
        return _Details(
            self._since_ns(),
            name,
            pids[min(1, len(pids) - 1)],  # the second is the container's, deeper ones are of its own making
            inside if 0 <= inside < IDS else uid,
            words.decode(errors="replace"),
        )
