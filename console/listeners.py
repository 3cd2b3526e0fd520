"""Who listens on a TCP port of this host, asked of the kernel: proc(5), /proc/net/tcp and /proc/pid/fd."""

from __future__ import annotations

import os
from pathlib import Path

LISTEN = "0A"  # TCP_LISTEN, include/net/tcp_states.h


def who_listens(port: int, proc: Path = Path("/proc")) -> str:
    """A phrase such as ``nginx (pid 12: nginx: master process)``; "" when nobody listens."""
    inodes = listening_inodes(port, proc)
    if not inodes:
        return ""
    for directory in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            held = {os.readlink(link) for link in (directory / "fd").iterdir()}
            if held & {f"socket:[{inode}]" for inode in inodes}:
                name = (directory / "comm").read_text().strip()
                command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"{name} (pid {directory.name}: {command[:200]})"
        except OSError:
            continue  # the process ended while we looked, or is not ours to look at
    return "a process that cannot be seen from here"


def listening_inodes(port: int, proc: Path) -> set[str]:
    """The inodes of the sockets that listen on the port, over IPv4 and IPv6."""
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue  # a kernel without IPv6
        for fields in map(str.split, lines):
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found
