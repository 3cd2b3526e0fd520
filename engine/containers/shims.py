"""Questions to a running container's shim; the messages: `engine.shim.protocol`."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path
from typing import Any

from engine.errors import from_wire
from engine.linux import unix
from engine.shim import protocol
from engine.storage.paths import Paths


def connect(path: Path, timeout_s: float | None) -> socket.socket | None:
    """A connection to the socket at ``path``, which may be longer than an address; None when nobody listens."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    door.settimeout(timeout_s)
    directory_fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        door.connect(unix.address(directory_fd, path.name))
    except OSError:
        door.close()
        return None
    finally:
        os.close(directory_fd)
    return door


def ask(paths: Paths, container_id: str, message: dict[str, Any], timeout_s: float | None) -> dict[str, Any] | None:
    """One question; None when there is no shim, or no answer in time. Raises what the shim answers."""
    door = connect(paths.shim_socket(container_id), timeout_s)
    if door is None:
        return None
    with door:
        try:
            protocol.send(door, message)
            answer = protocol.receive(door)
        except (OSError, EOFError):  # gone or silent: the caller asks the kernel
            return None
    if answer is not None and "error" in answer[0]:
        raise from_wire(answer[0]["error"])
    return answer[0] if answer else None


def wait_for_pid(pid: int, timeout_s: float | None) -> None:
    """Until a process has ended, asked of the kernel: a shim, or an init whose shim does not answer."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([pidfd], (), (), timeout_s)
    finally:
        os.close(pidfd)
