"""The launcher's operation "files": look at, send and receive files of a root that nobody trusts.

    stat       what a path is
    list, read, content, measure    what is in a directory, or in a file; see `engine.files.browse`
    write, mkdir, rename, remove    see `engine.files.edit`
    send       files as a tar stream
    receive    a tar stream as files below a directory
    changes    what a container changed of its image; see `engine.files.upper`
    layer      the same as an image's layer

A path is the container's own: it is looked up by the worker with RESOLVE_IN_ROOT, whatever links there are, and the
worker's root is all that it could reach anyway.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from engine.archives import sandbox
from engine.archives.collect import Collector
from engine.archives.copying import Copier
from engine.archives.tar import READ_BYTES, Reader, printable
from engine.archives.write import Writer
from engine.errors import EngineError, InvalidRequest, KernelError, NotFound
from engine.files import browse, edit, lookup, roots, upper

_FULL_HINT = "free some space there"


def serve(request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Do ``request["act"]`` with ``fds[0]`` as its stream. ``fds[1]`` is the host's directory, where there is one, and
    else a lock that is held until this is done, whatever becomes of who asked."""
    stream, other = fds
    root = request["root"]
    bounds = sandbox.Bounds(
        uid_base=int(root["uid_base"]), max_bytes=int(request["max_bytes"]), deadline_s=float(request["deadline_s"])
    )
    work = _WORK[request["act"]]
    opaque = upper.opaque_directories(root["upper"]) if root["kind"] == "changes" else []
    alive = roots.life(root)
    try:
        return sandbox.run(
            lambda descriptor: _told(lambda: work(request | {"opaque": opaque}, descriptor)),
            stream,
            roots.furnish(root, other, alive),
            bounds,
            until=alive,
        )
    finally:
        if alive is not None:
            os.close(alive)


def _told(act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The errors of ``act`` in the words of who asked."""
    try:
        return act()
    except OSError as error:
        raise _translated(error) from error


def _translated(error: OSError) -> EngineError:
    name = printable(os.fsencode(error.filename)) if error.filename else "it"
    if error.errno == errno.ENOENT:
        return NotFound(f"there is no {name}", hint="check the path", field="path", subject=name)
    if error.errno == errno.ENOTDIR:
        return InvalidRequest(f"{name} is not a directory", hint="check the path", field="path", subject=name)
    if error.errno == errno.EROFS:
        return InvalidRequest(f"{name} is on a read-only file system", hint="copy elsewhere", field="path")
    if error.errno in (errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG):
        return InvalidRequest(f"{name} cannot be looked up: {error.strerror}", hint="check the path", field="path")
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return KernelError.from_os(error, "copying", hint=_FULL_HINT if full else "")


def _send(request: dict[str, Any], stream: int) -> dict[str, Any]:
    """``name`` "": what is in the directory, and with ``top`` its own entry; else the path itself, called so."""
    path, name = request["path"], os.fsencode(request["name"])
    with open(stream, "wb", buffering=READ_BYTES, closefd=False) as sink:
        writer = Writer(sink.write)
        collector = Collector(writer, one_mount=request["one_mount"])
        before, _, last = path.rpartition("/")
        if not name:
            directory = lookup.readable(lookup.find(path, os.O_RDONLY | os.O_DIRECTORY), path)
            if request["top"]:
                collector.directory(directory, b".")
            collector.content(directory, b"")
        elif request["follow"] or last in ("", ".", ".."):
            collector.opened(lookup.readable(lookup.find(path, os.O_RDONLY | os.O_NONBLOCK), path), name)
        else:
            parent = lookup.readable(lookup.find(f"{before}/", os.O_PATH | os.O_DIRECTORY), path)
            os.close(
                lookup.readable(lookup.find(path, os.O_PATH | os.O_NOFOLLOW), path)
            )  # not there: told, not left out
            collector.add(parent, os.fsencode(last), name)
        writer.end()
    return collector.counts()


def _receive(request: dict[str, Any], stream: int) -> dict[str, Any]:
    target = lookup.readable(lookup.find(request["path"], os.O_PATH | os.O_DIRECTORY), request["path"])
    with open(stream, "rb", buffering=READ_BYTES, closefd=False) as source:
        copier = Copier(
            target,
            Reader(source),
            max_bytes=request["max_bytes"],
            owner=None if request["owner"] is None else tuple(request["owner"]),
            set_id=request["set_id"],
            keep_top=request["keep_top"],
        )
        copier.run()
        while source.read(READ_BYTES):
            pass
    return {"entries": copier.entries, "size_bytes": copier.size_bytes, "skipped_devices": copier.skipped_devices}


_WORK = {
    "stat": browse.status, "list": browse.directory, "read": browse.part, "content": browse.content,
    "measure": browse.measure,
    "write": edit.write, "mkdir": edit.make_directory, "rename": edit.rename, "remove": edit.remove,
    "send": _send, "receive": _receive, "changes": upper.changes, "layer": upper.layer,
}  # fmt: skip
