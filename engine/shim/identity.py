"""Who runs: the image's or request's USER, looked up in the container's own /etc/passwd and /etc/group.

Runs inside the container's root. The files are the image's and so hostile: only regular files, opened without
blocking (a FIFO must not hang us), at most 1 MiB and 10,000 lines (CVE-2026-47262). Digits are always a number and
never fall back to a name (CVE-2016-3697, CVE-2024-40635).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from engine.errors import InvalidRequest

_MAX_BYTES, _MAX_LINES, _MAX_ID = 2**20, 10_000, 65_535


class Identity(NamedTuple):
    """A resolved user."""

    uid: int
    gid: int
    groups: list[int]
    home: str


def resolve(user: str, more: Sequence[str] = ()) -> Identity:
    """``name``, ``uid``, ``name:group`` and so on; "" is root. ``more`` are groups on top, by name or number."""
    name, _, group = user.partition(":")
    passwd = _table("/etc/passwd", 6)
    uid, gid, home = _user(name or "0", passwd)
    login = name
    if name.isdigit() or not name:
        login = next((row[0] for row in passwd if row[2] == str(uid)), "")
    groups = _table("/etc/group", 3)
    if group:
        gid = _group(group, groups)
        extra = []
    else:
        extra = [
            int(row[2]) for row in groups if login and len(row) > 3 and login in row[3].split(",") and _number(row[2])
        ]
    extra += [_group(each, groups, "group_add") for each in more]
    return Identity(uid, gid, sorted({gid, *extra}), home)


def _user(name: str, passwd: list[list[str]]) -> tuple[int, int, str]:
    number = int(name) if name.isascii() and name.isdigit() else None
    if number is not None and number > _MAX_ID:
        raise InvalidRequest(f"user {name} is out of range", hint=f"use 0 to {_MAX_ID}", field="user")
    for row in passwd:
        if (row[2] == str(number) if number is not None else row[0] == name) and _number(row[2]) and _number(row[3]):
            return int(row[2]), int(row[3]), row[5] or "/"
    if number is None:
        raise InvalidRequest(
            f"user {name!r} is not in the image's /etc/passwd", hint="use a number or another name", field="user"
        )
    return number, 0, "/"


def _group(name: str, rows: list[list[str]], field: str = "user") -> int:
    if name.isascii() and name.isdigit():
        if int(name) > _MAX_ID:
            raise InvalidRequest(f"group {name} is out of range", hint=f"use 0 to {_MAX_ID}", field=field)
        return int(name)
    for row in rows:
        if row[0] == name and _number(row[2]):
            return int(row[2])
    raise InvalidRequest(
        f"group {name!r} is not in the image's /etc/group", hint="use a number or another name", field=field
    )


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= _MAX_ID


def _table(path: str, columns: int) -> list[list[str]]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # no such file, so no names; numbers still work
            return []
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidRequest(f"the image's {path} is not a regular file", field="user")
        data = os.read(descriptor, _MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    lines = data.decode("utf-8", "replace").split("\n")
    if len(data) > _MAX_BYTES or len(lines) > _MAX_LINES:
        raise InvalidRequest(f"the image's {path} is too large", hint="at most 1 MiB and 10,000 lines", field="user")
    return [row for row in (line.split(":") for line in lines) if len(row) >= columns]
