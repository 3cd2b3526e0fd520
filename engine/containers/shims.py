"""Questions to a running container's shim; the messages: `engine.shim.protocol`.

A shim may be older than who asks: it was started by the Wharfie of before, and lives as long as its container. What it
does not know is said so. One that is newer is not asked anything: nobody here knows what it would make of it.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from engine.errors import Unsupported, from_wire
from engine.linux import pidfds, unix
from engine.shim import protocol
from engine.storage.paths import Paths


def connect(path: Path, timeout_s: float | None) -> socket.socket | None:
    """A connection to the socket at ``path``; None when nobody listens."""
    try:
        return unix.connect(str(path), timeout_s=timeout_s)
    except OSError:
        return None


def version(paths: Paths, container_id: str) -> int | None:
    """The protocol that a container's shim speaks; None when there is no record of one."""
    try:
        return int(json.loads(paths.run_record(container_id).read_bytes())["version"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def understood(paths: Paths, container_id: str) -> None:
    """Unsupported when its shim is of a newer Wharfie than this one."""
    spoken = version(paths, container_id)
    if spoken is not None and spoken > protocol.VERSION:
        raise Unsupported(
            f"the container was started by a newer Wharfie: its shim speaks protocol {spoken}, this one "
            f"{protocol.VERSION}",
            hint="use the newer Wharfie for it; it runs on meanwhile",
            subject=container_id,
        )


def answered(paths: Paths, container_id: str, op: str, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer, or the error that it is; a question that an older shim does not know is said to be that."""
    if "error" not in answer:
        return answer
    spoken = version(paths, container_id)
    if answer["error"].get("class") == "Unsupported" and spoken is not None and spoken < protocol.VERSION:
        raise Unsupported(
            f"the container was started by an older Wharfie: its shim speaks protocol {spoken}, not "
            f"{protocol.VERSION}, and knows no {op!r}",
            hint="restart the container, and it gets a new one",
            subject=container_id,
        )
    raise from_wire(answer["error"])


def ask(paths: Paths, container_id: str, message: dict[str, Any], timeout_s: float | None) -> dict[str, Any] | None:
    """One question; None when there is no shim, or no answer in time. Raises what the shim answers, and Unsupported."""
    understood(paths, container_id)
    door = connect(paths.shim_socket(container_id), timeout_s)
    if door is None:
        return None
    with door:
        try:
            protocol.send(door, message)
            answer = protocol.receive(door)
        except (OSError, EOFError):  # gone or silent: the caller asks the kernel
            return None
    return answered(paths, container_id, message["op"], answer[0]) if answer else None


def wait_for_pid(pid: int, timeout_s: float | None) -> None:
    """Until a process has ended, asked of the kernel: a shim, or an init whose shim does not answer."""
    try:
        pidfd = pidfds.of(pid)
    except ProcessLookupError:
        return
    try:
        pidfds.ended(pidfd, timeout_s)
    finally:
        os.close(pidfd)
