"""Kernel settings of a container's own namespaces; sysctl(8), proc_sys(5).

They are reached through a /proc/sys that was opened before it turned read-only for the container.
"""

from __future__ import annotations

import os

from engine.errors import InvalidRequest
from engine.linux import files


def opened(proc: int) -> int:
    """A descriptor of /proc/sys below an open /proc."""
    return _below(proc, "sys", os.O_PATH | os.O_DIRECTORY)


def apply(settings: int, wanted: dict[str, str]) -> dict[str, str]:
    """Set kernel settings of the container's own namespaces; returns those that are not for this process.

    InvalidRequest for one that does not exist, or cannot be that."""
    left = {}
    for name, value in wanted.items():
        try:
            put(settings, name, value)
        except PermissionError:
            left[name] = value
        except OSError as error:
            raise InvalidRequest(
                f"the kernel does not let {name} be {value!r}: {os.strerror(error.errno or 0)}",
                hint="there is no such setting, or its value is out of range",
                field="sysctls",
            ) from error
    return left


def settle(settings: int, wanted: dict[str, str], *, own_network: bool) -> None:
    """The rest of the settings, as root of the container; InvalidRequest when one of them is not its own."""
    if own_network:
        put(settings, "net.ipv4.ping_group_range", "0 65535")
    for name in apply(settings, wanted):
        raise InvalidRequest(
            f"{name} cannot be set for one container", hint="it is a setting of the whole host", field="sysctls"
        )
    os.close(settings)


def put(settings: int, name: str, value: str) -> None:
    """Write a kernel setting, named as in sysctl(8), below an open /proc/sys."""
    descriptor = _below(settings, name.replace(".", "/"), os.O_WRONLY)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _below(directory: int, path: str, flag: int) -> int:
    descriptor = files.openat2(directory, path, flag, resolve=files.BENEATH | files.NO_SYMLINKS | files.NO_XDEV)
    if files.filesystem_magic(descriptor) != files.PROC_SUPER_MAGIC:  # CVE-2025-52881
        os.close(descriptor)
        raise OSError(f"{path} is not on proc")
    return descriptor
