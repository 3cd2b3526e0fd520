"""Unpack one layer's uncompressed tar stream into a directory, with no privilege over the host.

Called in a process that the launcher forked for it: `unpack` is the launcher's operation "unpack".
"""

from __future__ import annotations

import errno
import os
from typing import Any

from engine.archives import sandbox
from engine.archives.extract import Extractor
from engine.archives.tar import ENTRIES, READ_BYTES, Reader
from engine.linux.files import BENEATH, NO_MAGICLINKS, NO_SYMLINKS, openat2, syncfs

OPAQUE = "trusted.overlay.opaque"  # kernel overlayfs.rst; only CAP_SYS_ADMIN of the host may set it


def unpack(request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Unpack ``fds[0]``, a pipe or socket with a tar stream, below the empty directory ``fds[1]``.

    ``request``: uid_base (of 65,536 host ids that nobody uses meanwhile), max_bytes, and optionally max_entries,
    deadline_s and end_marker (False: a digest vouches for the stream, so it may lack the closing blocks).

    Returns size_bytes (what its files hold), entries, skipped_devices and opaque (how many directories hide the
    layers below); on return all of it is on disk. On EngineError the directory holds a part that the caller
    discards. The stream is read to its end, what follows the archive's end marker included.
    """
    stream, target = fds
    bounds = sandbox.Bounds(
        uid_base=int(request["uid_base"]),
        max_bytes=int(request["max_bytes"]),
        deadline_s=float(request.get("deadline_s", 3600)),
    )
    max_entries = int(request.get("max_entries", ENTRIES))
    end_marker = bool(request.get("end_marker", True))

    def work(source: int) -> dict[str, Any]:
        return _extract(source, bounds.max_bytes, max_entries, end_marker)

    result = sandbox.run(work, stream, sandbox.directory(target), bounds)
    opaque: list[str] = result["opaque"]
    for directory in opaque:
        _hide_lower(target, os.fsencode(directory))
    syncfs(target)
    return result | {"opaque": len(opaque)}


def _extract(source: int, max_bytes: int, max_entries: int, end_marker: bool) -> dict[str, Any]:
    with open(source, "rb", buffering=READ_BYTES, closefd=False) as stream:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        extractor = Extractor(root, Reader(stream, end_marker=end_marker, entries=max_entries), max_bytes=max_bytes)
        extractor.run()
        while stream.read(READ_BYTES):
            pass
    return {
        "size_bytes": extractor.size_bytes,
        "entries": extractor.entries,
        "skipped_devices": extractor.skipped_devices,
        "opaque": [os.fsdecode(b"/".join(parts)) for parts in extractor.opaque],
    }


def _hide_lower(target: int, path: bytes) -> None:
    """The worker is gone, so nothing moves any more; still its word is only a name, looked up BENEATH."""
    resolve = BENEATH | NO_SYMLINKS | NO_MAGICLINKS
    try:
        directory = openat2(target, path, os.O_RDONLY | os.O_DIRECTORY, resolve=resolve)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return  # a later entry replaced the directory: what is no directory hides the lower one anyway
        raise
    try:
        os.setxattr(directory, OPAQUE, b"y")
    finally:
        os.close(directory)
