"""unix(7) sockets."""

from __future__ import annotations


def address(directory_fd: int, name: str) -> str:
    """An address that fits into the 107 bytes of sun_path however deep the directory lies."""
    return f"/proc/self/fd/{directory_fd}/{name}"
