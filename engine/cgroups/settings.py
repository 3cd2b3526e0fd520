"""Limits as writes to kernel files, carried out all or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from engine.cgroups.counters import read_text
from engine.errors import Unsupported

CPU_PERIOD_US = 100_000
Limits = dict[str, Any]  # engine.containers.spec.Limits as plain data, the way it goes to a shim


class Setting(NamedTuple):
    """One write."""

    path: str
    value: str
    field: str  # of the limits, for whoever has to be told
    device: str = ""  # in a file that has a line a device: its major:minor, which the value begins with
    none: str = ""  # and what takes that line away


def write_text(path: str, value: str | int) -> None:
    """Write a kernel file in one write; OSError names the path."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from None
    finally:
        os.close(descriptor)


def write(settings: Iterable[Setting]) -> None:
    """Write to the files of a new group. Unsupported where the host has no such limit."""
    for setting in settings:
        try:
            write_text(setting.path, setting.value)
        except FileNotFoundError as error:
            raise _lacking(setting, error) from None


def replace(settings: Iterable[Setting]) -> None:
    """Write to the files of a group in use: on OSError or Unsupported, all are as they were.

    Taken back in reverse, so that the kernel sees no order that it did not already accept.
    """
    done: list[tuple[str, str]] = []
    try:
        for setting in settings:
            before = _present(setting)
            if before != setting.value.strip():
                write_text(setting.path, setting.value)
                done.append((setting.path, before))
    except BaseException:
        for path, before in reversed(done):
            write_text(path, before or "\n")  # nothing at all would be no write
        raise


def _present(setting: Setting) -> str:
    """What would have to be written to get the present value back."""
    try:
        text = read_text(setting.path).strip()
    except FileNotFoundError as error:
        raise _lacking(setting, error) from None
    if not setting.device:
        return text
    lines = (line for line in text.splitlines() if line.split()[0] == setting.device)
    return next(lines, setting.none)


def _lacking(setting: Setting, error: FileNotFoundError) -> Exception:
    """Whether the host has no such file, or the group has just gone."""
    group = os.path.dirname(setting.path)
    if os.path.isdir(os.path.dirname(os.path.dirname(group))) and not os.path.isdir(group):
        return error
    name = os.path.basename(setting.path)
    return Unsupported(
        f"this host has no {name}", hint=f"leave out {setting.field}, or enable it in the kernel", field=setting.field
    )


def devices_of(path: str) -> list[str]:
    """The devices that a file of limits names now, as major:minor."""
    try:
        return [line.split()[0] for line in read_text(path).splitlines() if line]
    except FileNotFoundError:
        return []


def page_size_name(size_bytes: int) -> str:
    """A size of huge pages as in the files' names: 2MB; mm/hugetlb_cgroup.c mem_fmt."""
    for unit, length in (("GB", 2**30), ("MB", 2**20)):
        if size_bytes >= length:
            return f"{size_bytes // length}{unit}"
    return f"{size_bytes // 1024}KB"


def busy(path: str) -> OSError:
    """More than the new limit is in use."""
    return OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
