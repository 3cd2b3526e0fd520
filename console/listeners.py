"""Who listens on a TCP port of this host, and which addresses it has, asked of the kernel: proc(5)."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path

LISTEN = "0A"  # TCP_LISTEN, include/net/tcp_states.h


def who_listens(port: int, proc: Path = Path("/proc")) -> str:
    """A phrase such as ``nginx (pid 12: nginx: master process)``; "" when nobody listens."""
    inodes = listening_inodes(port, proc)
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for directory in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        if any(target_of(link) in wanted for link in directory.glob("fd/*")):
            name = table_of(directory / "comm").strip()
            command = table_of(directory / "cmdline").replace("\0", " ").strip()
            return f"{name} (pid {directory.name}: {command[:120]})"
    return "a process that cannot be seen from here"


def target_of(link: Path) -> str:
    """What a descriptor refers to; "" when it was closed, or its process ended, while we looked."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def listening_inodes(port: int, proc: Path) -> set[str]:
    """The inodes of the sockets that listen on the port, over IPv4 and IPv6."""
    lines = [line for table in ("tcp", "tcp6") for line in table_of(proc / "net" / table).splitlines()[1:]]
    return {
        fields[9]
        for fields in map(str.split, lines)
        if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port
    }


def own_addresses(proc: Path = Path("/proc")) -> list[str]:
    """The addresses of this host that others may reach: no loopback, no link-local ones; IPv4 first."""
    found = re.findall(r"-- (\S+)\n\s+/32 host LOCAL", table_of(proc / "net/fib_trie"))
    for line in table_of(proc / "net/if_inet6").splitlines():
        found.append(str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))))
    usable = {text: ipaddress.ip_address(text) for text in found}
    return [text for text, address in usable.items() if not address.is_loopback and not address.is_link_local]


def table_of(path: Path) -> str:
    """A file of /proc; "" when the kernel has no such protocol or the process has ended."""
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
