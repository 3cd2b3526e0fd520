"""Makes files of tar entries below one directory. Runs in the unpack worker; see `engine.archives.worker`.

Every name is one component relative to a directory descriptor that openat2(2) found BENEATH the root with
NO_SYMLINKS: a symbolic link in the archive can have any text, because nothing ever walks through it
(CVE-2014-6407, CVE-2024-0406, CVE-2025-4517).

Later entries win over earlier ones of the same name, like tar(1); a directory stays when another entry for
it comes, and anything else is removed first (OCI image-spec layer.md, "Applying Changesets").
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TypeVar

from engine.archives.fields import refused
from engine.archives.tar import READ_BYTES, Entry, Kind, Reader, components
from engine.archives.whiteouts import hidden_name
from engine.errors import EngineError, InvalidRequest, KernelError, Unsupported
from engine.linux.files import openat2
from engine.linux.trees import SAFE, remove_tree

IDS = 65536  # the size of a container's id range
_HOLE = bytes(READ_BYTES)
_FULL_HINT = "free some space on the disk that holds WHARFIE_ROOT"

Parts = tuple[bytes, ...]
_T = TypeVar("_T")


class Extractor:
    """Unpacks one layer below ``root_fd``. Failure leaves what was made so far: the caller discards it."""

    def __init__(self, root_fd: int, reader: Reader, *, max_bytes: int) -> None:
        self._root = root_fd
        self._reader = reader
        self._max_bytes = max_bytes
        self._times: dict[Parts, int] = {}  # of directories: set last, because every new file changes them
        self._parent: tuple[Parts, int] = ((), root_fd)  # entries of one directory come together
        self.size_bytes = 0
        self.entries = 0
        self.skipped_devices = 0
        self.opaque: dict[Parts, None] = {}  # directories that hide what lies below them, in order

    def run(self) -> None:
        """Unpack every entry; a typed error names the first that cannot be."""
        for entry in self._reader:
            self.entries += 1
            try:
                self._place(entry)
            except OSError as error:
                raise _translated(error, entry) from error
        for parts, time_ns in self._times.items():
            self._set_directory_time(parts, time_ns)

    def _place(self, entry: Entry) -> None:
        parts = components(entry.name, entry.label)
        hidden = hidden_name(parts, entry.label)
        if hidden is not None:
            self._whiteout(parts[:-1], hidden, entry)
        elif parts and entry.kind in (Kind.CHARACTER, Kind.BLOCK):
            # A container's /dev is made at its start; a device node elsewhere is a way to the host's hardware.
            if parts[0] != b"dev":
                raise refused("has a device node outside dev/", entry.label)
            self.skipped_devices += 1
        else:
            self._place_file(parts, entry)

    def _place_file(self, parts: Parts, entry: Entry) -> None:
        """Anything but a whiteout or a device."""
        if entry.kind is Kind.DIRECTORY:
            return self._directory(parts, entry)
        if not parts:
            raise refused("has an entry without a name")
        self._check_owner(entry)
        parent = self._directory_fd(parts[:-1], entry)
        {
            Kind.FILE: self._file,
            Kind.SYMLINK: self._symlink,
            Kind.HARDLINK: self._hardlink,
            Kind.FIFO: self._fifo,
        }[entry.kind](parent, parts, entry)

    def _file(self, parent: int, parts: Parts, entry: Entry) -> None:
        self.size_bytes += entry.size
        if self.size_bytes > self._max_bytes:
            raise InvalidRequest(
                f"the archive holds more than {self._max_bytes} bytes",
                hint="make the layer smaller",
                subject=entry.label,
            )
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = self._make(parent, parts[-1], lambda: os.open(parts[-1], flags, 0o600, dir_fd=parent))
        try:
            for chunk in self._reader.chunks():
                if chunk == _HOLE:  # a sparse file stays one
                    os.lseek(file, len(chunk), os.SEEK_CUR)
                    continue
                view = memoryview(chunk)
                while view:
                    view = view[os.write(file, view) :]
            os.ftruncate(file, entry.size)
            self._finish(file, entry)
            os.utime(file, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(file)

    def _symlink(self, parent: int, parts: Parts, entry: Entry) -> None:
        name = parts[-1]
        if not entry.link or b"\0" in entry.link:
            raise refused("has a symbolic link to nothing", entry.label)
        self._make(parent, name, lambda: os.symlink(entry.link, name, dir_fd=parent))
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _hardlink(self, parent: int, parts: Parts, entry: Entry) -> None:
        name = parts[-1]
        target = components(entry.link, entry.label)
        if not target or target == parts:
            raise refused("has a hard link to itself", entry.label)
        try:
            source = openat2(self._root, b"/".join(target[:-1]) or b".", os.O_PATH | os.O_DIRECTORY, resolve=SAFE)
        except (FileNotFoundError, NotADirectoryError):
            raise _missing_target(entry) from None
        try:
            if stat.S_ISCHR(os.stat(target[-1], dir_fd=source, follow_symlinks=False).st_mode):
                raise FileNotFoundError  # a whiteout
            self._make(
                parent,
                name,
                lambda: os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False),
            )
        except (FileNotFoundError, PermissionError):  # EPERM: a directory
            raise _missing_target(entry) from None
        finally:
            os.close(source)

    def _fifo(self, parent: int, parts: Parts, entry: Entry) -> None:
        name = parts[-1]
        self._make(parent, name, lambda: os.mkfifo(name, 0o600, dir_fd=parent))
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, entry.mode, dir_fd=parent)  # follows links, but this is the FIFO that was just made
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _directory(self, parts: Parts, entry: Entry) -> None:
        self._check_owner(entry)
        if parts:
            parent = self._directory_fd(parts[:-1], entry)
            directory = self._open_or_make(parent, parts, os.O_RDONLY)
        else:
            directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
        try:
            self._finish(directory, entry)
        finally:
            os.close(directory)
        self._times[parts] = entry.mtime_ns

    def _whiteout(self, directory: Parts, hidden: bytes, entry: Entry) -> None:
        """Overlayfs hides a name by a character device 0:0 (kernel overlayfs.rst, "whiteouts and opaque directories").

        A whiteout speaks of the layers below: what this layer itself has under that name stays.
        """
        if entry.kind is not Kind.FILE:
            raise refused("has a whiteout that is no file", entry.label)
        parent = self._directory_fd(directory, entry)
        if not hidden:
            if not directory:  # overlayfs always merges the roots of its layers, so nothing could say this
                raise Unsupported("the archive hides all layers below it", hint="flatten the image into one layer")
            self.opaque[directory] = None
            return
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode):
                self.opaque[(*directory, hidden)] = None

    def _make(self, parent: int, name: bytes, create: Callable[[], _T]) -> _T:
        try:
            return create()
        except FileExistsError:
            self._remove(parent, name)
            return create()

    def _finish(self, descriptor: int, entry: Entry) -> None:
        """Owner first: chown clears setuid bits and security.capability; chown(2)."""
        os.fchown(descriptor, entry.uid, entry.gid)
        os.fchmod(descriptor, entry.mode)
        for name, value in entry.xattrs.items():
            # user.overlay.* would speak to overlayfs; other namespaces belong to this host, not to the archive.
            if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay.")):
                os.setxattr(descriptor, name, value)

    def _check_owner(self, entry: Entry) -> None:
        if entry.uid >= IDS or entry.gid >= IDS:
            raise InvalidRequest(
                f"the archive has a file of user {entry.uid}, group {entry.gid}: {entry.label}",
                hint=f"ids go up to {IDS - 1}: make the archive with other owners",
                subject=entry.label,
            )

    def _directory_fd(self, parts: Parts, entry: Entry) -> int:
        """An O_PATH descriptor of a directory, made when absent; valid until the next call."""
        if parts == self._parent[0]:
            return self._parent[1]
        self._forget_parent()
        try:
            found = openat2(self._root, b"/".join(parts) or b".", os.O_PATH | os.O_DIRECTORY, resolve=SAFE)
        except (FileNotFoundError, NotADirectoryError):
            found = self._walk(parts, entry)
        self._parent = (parts, found)
        return found

    def _walk(self, parts: Parts, entry: Entry) -> int:
        current = os.dup(self._root)
        try:
            for depth, part in enumerate(parts, 1):
                try:
                    if not _is_whiteout_or_absent(current, part):
                        step = openat2(current, part, os.O_PATH | os.O_DIRECTORY, resolve=SAFE)
                    else:
                        step = self._open_or_make(current, parts[:depth], os.O_PATH)
                except NotADirectoryError:
                    raise refused("has a file below something that is no directory", entry.label) from None
                os.close(current)
                current = step
        except BaseException:
            os.close(current)
            raise
        return current

    def _open_or_make(self, parent: int, parts: Parts, flags: int) -> int:
        name = parts[-1]
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(mode):
                if stat.S_ISCHR(mode):  # a whiteout of this layer: the one below is gone, this one is new
                    self.opaque[parts] = None
                os.unlink(name, dir_fd=parent)
                os.mkdir(name, 0o755, dir_fd=parent)
        return openat2(parent, name, flags | os.O_DIRECTORY, resolve=SAFE)

    def _remove(self, parent: int, name: bytes) -> None:
        try:
            os.unlink(name, dir_fd=parent)
        except IsADirectoryError:
            remove_tree(parent, name)

    def _forget_parent(self) -> None:
        if self._parent[1] != self._root:
            os.close(self._parent[1])
        self._parent = ((), self._root)

    def _set_directory_time(self, parts: Parts, time_ns: int) -> None:
        try:
            directory = openat2(self._root, b"/".join(parts) or b".", os.O_RDONLY | os.O_DIRECTORY, resolve=SAFE)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return  # a later entry replaced it
            raise
        try:
            os.utime(directory, ns=(time_ns, time_ns))
        finally:
            os.close(directory)


def _is_whiteout_or_absent(parent: int, name: bytes) -> bool:
    try:
        return stat.S_ISCHR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return True


def _missing_target(entry: Entry) -> InvalidRequest:
    return refused("has a hard link to something that it does not hold", entry.label)


def _translated(error: OSError, entry: Entry) -> EngineError:
    if error.errno == errno.ELOOP:
        return InvalidRequest(
            f"the archive writes through a symbolic link: {entry.label}",
            hint="make it of a real directory tree",
            subject=entry.label,
        )
    if error.errno == errno.ENAMETOOLONG:
        return refused("has a name that is too long", entry.label)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return KernelError.from_os(error, f"unpacking {entry.label}", hint=_FULL_HINT if full else "")
