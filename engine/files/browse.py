"""In the worker: look into directories and files. Nothing is opened that could wait or act: no FIFO, no device."""

from __future__ import annotations

import base64
import os
import stat
from typing import Any

from engine.archives.tar import READ_BYTES
from engine.archives.trees import TreeCount
from engine.errors import WrongState
from engine.files import lookup


def status(request: dict[str, Any], _stream: int) -> dict[str, Any]:
    """What a path is."""
    found = lookup.find(request["path"], os.O_PATH | (0 if request["follow"] else os.O_NOFOLLOW))
    try:
        return _about(os.fstat(found), found)
    finally:
        os.close(found)


def directory(request: dict[str, Any], _stream: int) -> dict[str, Any]:
    """``count`` of a directory's entries from ``first`` on: directories before others, by name."""
    path = request["path"]
    opened = lookup.readable(lookup.find(path, os.O_RDONLY | os.O_DIRECTORY), path)
    try:
        with os.scandir(opened) as entries:
            names = sorted((not each.is_dir(follow_symlinks=False), os.fsencode(each.name)) for each in entries)
        first = int(request["first"])
        shown = [name for _, name in names[first : first + int(request["count"])]]
        found = [about for name in shown if (about := _entry(opened, path, name)) is not None]
        return {"entries": found, "total": len(names)}
    finally:
        os.close(opened)


def measure(request: dict[str, Any], _stream: int) -> dict[str, Any]:
    """How much is in a directory, as far as ``timeout_s`` reaches. Not what is mounted in it: that is another's."""
    path = request["path"]
    count = TreeCount(float(request["timeout_s"]))
    count.add(lookup.readable(lookup.find(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW), path))
    return {"bytes": count.bytes, "entries": count.entries, "whole": count.whole}


def _entry(opened: int, path: str, name: bytes) -> dict[str, Any] | None:
    """None: it went between the two looks."""
    try:
        known = os.stat(name, dir_fd=opened, follow_symlinks=False)
        about = {"name": os.fsdecode(name), **_about(known, opened, name)}
    except OSError:
        return None
    if stat.S_ISLNK(known.st_mode):
        about["target_mode"] = _target_mode(lookup.encoded(path) + b"/" + name)
    return about


def _target_mode(path: bytes) -> int | None:
    """What a link leads to; None: nowhere."""
    try:
        found = lookup.find(path, os.O_PATH)
    except OSError:
        return None
    try:
        return os.fstat(found).st_mode
    finally:
        os.close(found)


def _about(known: os.stat_result, place: int, name: bytes = b"") -> dict[str, Any]:
    link = os.fsdecode(os.readlink(name, dir_fd=place)) if stat.S_ISLNK(known.st_mode) else ""
    return {"mode": known.st_mode, "uid": known.st_uid, "gid": known.st_gid, "size": known.st_size,
            "mtime_ns": known.st_mtime_ns, "link": link}  # fmt: skip


def part(request: dict[str, Any], _stream: int) -> dict[str, Any]:
    """``length`` bytes of a regular file from ``offset`` on, or as many as there are."""
    file = lookup.regular(request["path"])
    try:
        os.lseek(file, int(request["offset"]), os.SEEK_SET)
        data, left = bytearray(), int(request["length"])
        while left and (read := os.read(file, min(left, READ_BYTES))):
            data += read
            left -= len(read)
        return {"data": base64.b64encode(data).decode(), **_about(os.fstat(file), file)}
    finally:
        os.close(file)


def content(request: dict[str, Any], stream: int) -> dict[str, Any]:
    """A regular file's first ``size_bytes`` to the stream; WrongState when it has become shorter than that."""
    file = lookup.regular(request["path"])
    try:
        left = int(request["size_bytes"])
        with open(stream, "wb", buffering=0, closefd=False) as sink:
            while left and (data := os.read(file, min(left, READ_BYTES))):
                left -= len(data)
                view = memoryview(data)
                while view:
                    view = view[sink.write(view) :]
        if left:
            raise WrongState("the file became shorter while it was read", hint="do it again")
        return {}
    finally:
        os.close(file)
