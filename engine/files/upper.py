"""What a container changed of its image, read from the upper directory of its overlay.

overlayfs.rst, "whiteouts and opaque directories": a character device 0:0 hides a name of the layers below, and a
directory marked opaque hides all that they have in it. That mark is only for the host's root to see, so the keeper
looks for it, by descriptor; all else is done by the worker, which sees the upper directory and the image side by side.
Nothing in the upper directory points elsewhere: see `engine.linux.overlayfs.WHOLE`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from engine.archives.collect import Collector
from engine.archives.tar import DEPTH, READ_BYTES, Entry, Kind, printable
from engine.archives.worker import OPAQUE
from engine.archives.write import Writer
from engine.errors import InvalidRequest
from engine.linux.files import openat2
from engine.linux.trees import SAFE

LEFT_BYTES = 2**26  # of paths still to be looked at: who looks has no limit of memory but this
_WHITEOUT = b".wh."
_OPAQUE_WHITEOUT = b".wh..wh..opq"

Emit = Callable[[str, bytes, int, bytes], None]  # A, C or D; path; directory and name in it


def opaque_directories(upper: str) -> list[str]:
    """The opaque ones among the directories of an upper directory, from it on. For the host's root."""
    found: list[str] = []
    top = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        left, held = [b""], 0
        while left:
            path = left.pop()
            held -= len(path)
            directory = _opened(top, path or b".")
            if directory is None:
                continue
            try:
                if path and _is_opaque(directory):
                    found.append(os.fsdecode(path))
                with os.scandir(directory) as entries:
                    names = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
            finally:
                os.close(directory)
            if names and path.count(b"/") >= DEPTH:
                raise InvalidRequest(f"there are more than {DEPTH} directories in each other", hint="remove some")
            below = [path + b"/" + name if path else name for name in names]
            left += below
            held += sum(map(len, below))
            if held > LEFT_BYTES:
                raise InvalidRequest("it has made too many directories to look through", hint="remove some")
    finally:
        os.close(top)
    return found


def _opened(parent: int, path: bytes) -> int | None:
    """A directory; None when it is none, or gone."""
    try:
        return openat2(parent, path, os.O_RDONLY | os.O_DIRECTORY, resolve=SAFE)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidRequest("it has made a path of more than 4095 bytes", hint="remove it") from error
        raise


def _is_opaque(directory: int) -> bool:
    return OPAQUE in os.listxattr(directory) and os.getxattr(directory, OPAQUE) == b"y"


def changes(request: dict[str, Any], stream: int) -> dict[str, Any]:
    """In the worker: to the stream for each change a letter, mode and size as numbers, the path, and a zero byte.

    A added, C changed, D deleted; what is below a deleted directory is not told. Docker's letters ("docker diff").
    Mode and size are 0 of what was deleted.
    """
    count = 0
    with open(stream, "wb", buffering=READ_BYTES, closefd=False) as sink:

        def emit(kind: str, path: bytes, parent: int, name: bytes) -> None:
            nonlocal count
            count += 1
            status = None if kind == "D" else _status(parent, name)
            mode, size = (status.st_mode, status.st_size) if status else (0, 0)
            sink.write(b"%s %d %d /%s\0" % (kind.encode(), mode, size, path))

        _Comparison(request["opaque"], emit, lambda _path: None).run()
    return {"entries": count}


def layer(request: dict[str, Any], stream: int) -> dict[str, Any]:
    """In the worker: the changes as an image's layer, a tar with whiteouts (OCI image-spec layer.md)."""
    with open(stream, "wb", buffering=READ_BYTES, closefd=False) as sink:
        writer = Writer(sink.write)
        collector = Collector(writer)
        whiteouts = 0

        def hide(path: bytes) -> None:
            nonlocal whiteouts
            whiteouts += 1
            writer.entry(Entry(name=path, kind=Kind.FILE, mode=0o600, uid=0, gid=0, size=0, mtime_ns=0))

        def emit(kind: str, path: bytes, parent: int, name: bytes) -> None:
            directory, _, last = path.rpartition(b"/")
            if kind == "D":
                hide(directory + b"/" * bool(directory) + _WHITEOUT + last)
                return
            if last.startswith(_WHITEOUT):
                raise InvalidRequest(
                    f"no image can hold a file of this name: {printable(path)}", hint="rename or remove it first"
                )
            opened = _opened(parent, name)
            if opened is None:
                collector.add(parent, name, path)
                return
            try:
                collector.directory(opened, path)
            finally:
                os.close(opened)

        # A layer says of a directory that it hides what is below, and not name by name.
        _Comparison(request["opaque"], emit, lambda path: hide(path + b"/" + _OPAQUE_WHITEOUT), names=False).run()
        writer.end()
    counts = collector.counts()
    return counts | {"entries": counts["entries"] + whiteouts}


class _Comparison:
    """Walks the upper directory beside the image. A directory is told before what is in it, and only when it changed
    or something in it did: being there means no more than that it was opened for writing once."""

    def __init__(
        self, opaque: list[str], emit: Emit, hides_all: Callable[[bytes], None], *, names: bool = True
    ) -> None:
        self._opaque = {os.fsencode(path) for path in opaque}
        self._emit = emit
        self._hides_all = hides_all  # called for an opaque directory, after it was told
        self._names = names  # whether what an opaque directory hides is told name by name
        self._untold: list[tuple[bytes, int, bytes]] = []  # directories that have not changed so far, outermost first

    def run(self) -> None:
        """Walk all of it."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._directory(os.open("/upper", flags), os.open("/image", flags), b"")

    def _tell(self, kind: str, path: bytes, parent: int, name: bytes) -> None:
        untold, self._untold = self._untold, []
        for directory in untold:
            self._emit("C", *directory)
        self._emit(kind, path, parent, name)

    def _directory(self, upper: int, image: int | None, path: bytes) -> None:
        if path.count(b"/") >= DEPTH:
            raise InvalidRequest(f"there are more than {DEPTH} directories in each other", hint="remove some")
        for text in sorted(os.listdir(upper)):
            name = os.fsencode(text)
            here = path + b"/" + name if path else name
            status = _status(upper, name)
            before = None if image is None else _status(image, name)
            if status is None:
                continue  # gone meanwhile
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                if before is not None:
                    self._tell("D", here, upper, name)
            elif stat.S_ISDIR(status.st_mode):
                self._subdirectory(upper, image, name, here, status, before)
            else:
                self._tell("A" if before is None else "C", here, upper, name)

    def _subdirectory(
        self, upper: int, image: int | None, name: bytes, path: bytes, status: os.stat_result,
        before: os.stat_result | None,
    ) -> None:  # fmt: skip
        opened = _opened(upper, name)
        if opened is None:
            return
        was_directory = before is not None and stat.S_ISDIR(before.st_mode)
        below = _opened(image, name) if was_directory and image is not None else None
        opaque = below is not None and path in self._opaque
        waiting = (path, upper, name)
        try:
            if before is not None and was_directory and not opaque and _same(status, before):
                self._untold.append(waiting)
            else:
                self._tell("A" if before is None else "C", *waiting)
            if opaque:
                self._hides_all(path)
            self._directory(opened, below, path)
            if opaque and self._names and below is not None:
                for text in sorted(set(os.listdir(below)) - set(os.listdir(opened))):
                    self._tell("D", path + b"/" + os.fsencode(text), below, os.fsencode(text))
            if self._untold and self._untold[-1] is waiting:
                self._untold.pop()
        finally:
            os.close(opened)
            if below is not None:
                os.close(below)


def _status(directory: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid, one.st_mtime_ns) == (
        other.st_mode,
        other.st_uid,
        other.st_gid,
        other.st_mtime_ns,
    )
