"""Places in a container's root, found and made without leaving it: for what is mounted there.

Runs as the container's own root in its own mount namespace. Symbolic links are followed by hand, as chroot(2) would
have it, since they are how images are built (/var/run -> /run); every step is opened again from the root without
following any, so that a link put there meanwhile is an error and no way out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque

from engine.linux import files
from engine.linux.syscall import failure

_MAX_LINKS = 40  # the kernel's own; path_resolution(7)
_STEP = files.BENEATH | files.NO_SYMLINKS | files.NO_MAGICLINKS


def place(root_fd: int, path: str, *, directory: bool) -> int:
    """An O_PATH descriptor of the directory, or regular file, that ``path`` means in ``root_fd``; made when absent.

    OSError: ENOTDIR or EISDIR when something else is there, ELOOP, and EXDEV when links lead to a kernel file system.
    """
    left = deque(path.split("/"))
    trail: list[str] = []
    links = 0
    found = os.dup(root_fd)
    try:
        while left:
            part = left.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                del trail[-1:]
            else:
                last = not any(more not in ("", ".") for more in left)
                step = _open(root_fd, trail, part, directory=directory or not last)
                if stat.S_ISLNK(os.fstat(step).st_mode):
                    target = os.readlink("", dir_fd=step)
                    os.close(step)
                    links += 1
                    if links > _MAX_LINKS:
                        raise failure(errno.ELOOP, "openat2", path)
                    if target.startswith("/"):
                        trail.clear()
                    left.extendleft(reversed(target.split("/")))
                    continue
                os.close(step)
                trail.append(part)
        os.close(found)
        found = files.openat2(root_fd, "/".join(trail) or ".", os.O_PATH | os.O_NOFOLLOW, resolve=_STEP)
        _check(found, path, directory=directory)
    except BaseException:
        os.close(found)
        raise
    return found


def _open(root_fd: int, trail: list[str], part: str, *, directory: bool) -> int:
    """The next step, a link itself and not its target; made when absent."""
    name = "/".join([*trail, part])
    flag = os.O_PATH | os.O_NOFOLLOW
    try:
        return files.openat2(root_fd, name, flag, resolve=_STEP)
    except FileNotFoundError:
        parent = files.openat2(root_fd, "/".join(trail) or ".", os.O_PATH | os.O_DIRECTORY, resolve=_STEP)
        try:
            if directory:
                os.mkdir(part, 0o755, dir_fd=parent)
            else:
                new = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(part, new, 0o644, dir_fd=parent))
        finally:
            os.close(parent)
        return files.openat2(root_fd, name, flag, resolve=_STEP)


def _check(descriptor: int, path: str, *, directory: bool) -> None:
    mode = os.fstat(descriptor).st_mode
    if directory and not stat.S_ISDIR(mode):
        raise failure(errno.ENOTDIR, "mount", path)
    if not directory and not stat.S_ISREG(mode):
        raise failure(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "mount", path)
    if files.filesystem_magic(descriptor) in (files.PROC_SUPER_MAGIC, files.SYSFS_MAGIC):
        raise failure(errno.EXDEV, "mount", path)
