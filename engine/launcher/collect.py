"""What a new keeper has to find out: what shims of an earlier launcher lend, and who has lost its own, and gets one."""

from __future__ import annotations

import json
import os
import select
import sys

from engine.launcher.apart import apart
from engine.linux import files, process, unix
from engine.shim import adoption, protocol
from engine.shim.custody import Deposit

LENDING_S = 5.0
LENDING_TRIES, LENDING_PAUSE_S = 5, 0.05


def collect(run: str, instance: str) -> int:
    """In a child, when a keeper starts: have shims lend what they have, and give those a new one that have none."""
    child = os.fork()
    if child:
        return child

    def work() -> None:
        shims, boot = f"{run}/shims", process.boot_id()
        for name in os.listdir(shims):
            container_id, dot, kind = name.partition(".")
            if (dot, kind) != (".", "json"):
                continue
            try:
                _collect(run, instance, container_id, boot)
            except (OSError, ValueError, KeyError) as error:  # it has just ended, or its record is damaged; next
                print(f"wharfie keeper: {name}: {error!r}", file=sys.stderr, flush=True)

    apart(work, set(), run, instance)


def _collect(run: str, instance: str, container_id: str, boot: str) -> None:
    """One of them. A shim that is killed while it is asked is found dead the next time, and replaced."""
    shims = f"{run}/shims"
    for _ in range(LENDING_TRIES):
        with open(f"{shims}/{container_id}.json", "rb") as file:
            record = json.load(file)
        if record["boot_id"] != boot:
            for left in ("sock", "request", "health", "asked", "json"):
                files.remove(f"{shims}/{container_id}.{left}")
            return
        if process.start_time(record["shim_pid"]) != record["shim_start_time"]:
            if not os.fork():
                apart(lambda: adoption.adopt(shims, container_id), set(), run, instance)
            return
        try:
            _borrow(shims, container_id, f"{run}/custody.sock")
            return
        except (OSError, EOFError) as error:
            print(f"wharfie keeper: {container_id}: {error!r}", file=sys.stderr, flush=True)
            select.select((), (), (), LENDING_PAUSE_S)


def _borrow(shims: str, container_id: str, path: str) -> None:
    with unix.connect(f"{shims}/{container_id}.sock", timeout_s=LENDING_S) as door:
        protocol.send(door, {"op": "lend"})
        answer = protocol.receive(door)
    if answer is None or "error" in answer[0]:  # it is of an older Wharfie, which lends nothing
        return
    message, fds = answer
    Deposit.of(message["shim"], message["pid"], container_id, message["outputs"], fds).send(path)
    for descriptor in fds:
        os.close(descriptor)
