"""In the worker: write, make, rename and remove. What is written is old or new to whoever looks, and never half."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from typing import Any

from engine.archives.collect import xattrs
from engine.archives.tar import READ_BYTES, printable
from engine.errors import AlreadyExists, InvalidRequest, WrongState
from engine.files import lookup
from engine.linux import files
from engine.linux.files import NO_XDEV, RENAME_EXCHANGE, RENAME_NOREPLACE, openat2, renameat2
from engine.linux.trees import SAFE, Descent, remove_tree

_TEMPORARY = b".wharfie-new-"
_SET_IDS = stat.S_ISUID | stat.S_ISGID
_OF_ONE_MOUNT = SAFE | NO_XDEV  # what is mounted below is another's


def write(request: dict[str, Any], stream: int) -> dict[str, Any]:
    """``size_bytes`` from the stream become the file, links at the path's end followed.

    One that is there keeps owner and mode, without set-id bits; a new one is its directory's owner's. ``expected`` is
    the SHA-256 of what is to be replaced: WrongState when something else is there. Without it and without ``replace``
    nothing is replaced: AlreadyExists.
    """
    directory, name = lookup.end(request["path"])
    before = _regular(directory, name)
    _require_expected(before, request["expected"], name)
    temporary = _TEMPORARY + os.urandom(8).hex().encode()
    try:
        try:
            new = openat2(directory, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600, resolve=SAFE)
        except OSError as error:
            error.filename = name  # of the other one nobody has heard
            raise
        _receive(new, stream, int(request["size_bytes"]), before, directory)
        if request["expected"] is not None:
            _exchange(directory, temporary, name, request["expected"])
            os.unlink(temporary, dir_fd=directory)
        else:
            _move(directory, temporary, directory, name, 0 if request["replace"] else RENAME_NOREPLACE)
    except BaseException:
        with contextlib.suppress(OSError):  # what was met first is what is told
            os.unlink(temporary, dir_fd=directory)
        raise
    return {}


def _regular(directory: int, name: bytes) -> int | None:
    """The file that is there, opened for reading; None when there is none. Nothing else may be replaced."""
    try:
        place = openat2(directory, name, os.O_PATH | os.O_NOFOLLOW, resolve=SAFE)
    except FileNotFoundError:
        return None
    mode = os.fstat(place).st_mode
    os.close(place)
    if not stat.S_ISREG(mode):
        raise InvalidRequest(
            f"{printable(name)} is there and no regular file", hint="choose another name", field="path"
        )
    opened = openat2(directory, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, resolve=SAFE)
    if not stat.S_ISREG(os.fstat(opened).st_mode):  # swapped between the two
        raise _changed(name)
    return opened


def _changed(name: bytes) -> WrongState:
    return WrongState(
        f"{printable(name)} was changed meanwhile", hint="look at it as it is now, and change that", field="path"
    )


def _digest(file: int | None) -> str:
    if file is None:
        return ""
    os.lseek(file, 0, os.SEEK_SET)
    digest = hashlib.sha256()
    while data := os.read(file, READ_BYTES):
        digest.update(data)
    return digest.hexdigest()


def _require_expected(file: int | None, expected: str | None, name: bytes) -> None:
    if expected is not None and _digest(file) != expected:
        raise _changed(name)


def _receive(new: int, stream: int, size: int, before: int | None, directory: int) -> None:
    try:
        left = size
        while left and (data := os.read(stream, min(left, READ_BYTES))):
            files.write_all(new, data)
            left -= len(data)
        if left or os.read(stream, 1):
            raise InvalidRequest("the file did not come whole", hint="send it again")
        known = os.fstat(directory if before is None else before)
        os.fchown(new, known.st_uid, known.st_gid)
        os.fchmod(new, 0o644 if before is None else stat.S_IMODE(known.st_mode) & ~_SET_IDS)
        if before is not None:
            for key, value in xattrs(before).items():
                if key.startswith("user."):  # a file's capabilities do not outlive a write; capabilities(7)
                    os.setxattr(new, key, value)
        os.fsync(new)
    finally:
        os.close(new)


def _exchange(directory: int, temporary: bytes, name: bytes, expected: str) -> None:
    """Swap the two in one step, then look at what was there: between a look and a rename it could still change."""
    try:
        _move(directory, temporary, directory, name, RENAME_EXCHANGE)
    except FileNotFoundError:
        raise _changed(name) from None
    try:
        _require_expected(_regular(directory, temporary), expected, name)
    except BaseException:
        _move(directory, temporary, directory, name, RENAME_EXCHANGE)
        raise


def make_directory(request: dict[str, Any], _stream: int) -> dict[str, Any]:
    """A new directory, its parent's owner's."""
    above, name = lookup.parent(request["path"])
    try:
        os.mkdir(name, 0o755, dir_fd=above)
    except FileExistsError:
        raise _exists(name) from None
    known = os.fstat(above)
    made = openat2(above, name, os.O_RDONLY | os.O_DIRECTORY, resolve=SAFE)
    os.fchown(made, known.st_uid, known.st_gid)
    return {}


def rename(request: dict[str, Any], _stream: int) -> dict[str, Any]:
    """Give something another name, in another directory perhaps; nothing is replaced."""
    old, old_name = lookup.parent(request["path"])
    new, new_name = lookup.parent(request["to"])
    _move(old, old_name, new, new_name, RENAME_NOREPLACE)
    return {}


def _move(old: int, old_name: bytes, new: int, new_name: bytes, flags: int) -> None:
    try:
        renameat2(old, old_name, new, new_name, flags)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise _exists(new_name) from None
        if error.errno == errno.EBUSY:
            raise _mounted(new_name if flags != RENAME_NOREPLACE else old_name) from None
        if error.errno == errno.EXDEV:  # or a directory of the image: overlayfs.rst, "Renaming directories"
            raise InvalidRequest(
                f"{printable(old_name)} lies in the image or on another file system, and cannot be moved in one step",
                hint="copy it to its new name, then remove it",
                field="name",
            ) from None
        if error.errno == errno.EINVAL:
            raise InvalidRequest(
                f"{printable(old_name)} cannot be moved into itself", hint="choose another place", field="name"
            ) from None
        raise


def remove(request: dict[str, Any], _stream: int) -> dict[str, Any]:
    """Remove a file, a link itself, or a directory with all in it; nothing when something is mounted in there."""
    above, name = lookup.parent(request["path"])
    try:
        os.unlink(name, dir_fd=above)
    except IsADirectoryError:
        try:
            _require_one_mount(above, name)
            remove_tree(above, name, resolve=_OF_ONE_MOUNT)
        except OSError as error:
            raise _mounted(name) if error.errno in (errno.EXDEV, errno.EBUSY) else error from None
    except OSError as error:
        raise _mounted(name) if error.errno == errno.EBUSY else error from None
    return {}


def _require_one_mount(above: int, name: bytes) -> None:
    """EXDEV when something is mounted on a directory or below, before anything of it is removed."""
    with Descent(above, name, resolve=_OF_ONE_MOUNT) as way:
        left = [_directories(way.here)]
        while not way.ended:
            if left[-1]:
                way.down(left[-1].pop())
                left.append(_directories(way.here))
            else:
                left.pop()
                way.up()


def _directories(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [each.name for each in entries if each.is_dir(follow_symlinks=False)]


def _mounted(name: bytes) -> InvalidRequest:
    return InvalidRequest(
        f"something is mounted on {printable(name)} or in it", hint="it comes and goes with the container's mounts",
        field="path",
    )  # fmt: skip


def _exists(name: bytes) -> AlreadyExists:
    return AlreadyExists(f"{printable(name)} is there already", hint="choose another name", field="name")
