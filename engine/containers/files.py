"""Copy files into and out of a container, running or not, as tar streams; the work is done by `engine.files.worker`."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from engine import policy
from engine.archives.collect import Collector
from engine.archives.feed import feed
from engine.archives.streams import DiskGuard
from engine.archives.tar import READ_BYTES, Source
from engine.archives.write import Writer
from engine.containers import changes, roots, state
from engine.containers.changes import Change
from engine.containers.records import Records
from engine.containers.roots import Request
from engine.containers.spec import PathStat
from engine.errors import KernelError, only_engine_errors
from engine.images.spec import Image
from engine.launcher.client import LauncherClient
from engine.security.spec import ROOT, Caller
from engine.storage.paths import Paths

DEADLINE_S = 6 * 3600.0

Counts = dict[str, Any]


class Outgoing:
    """A tar stream that comes out of a container: a binary source, to be closed. b"" means that it is complete.

    `read` raises the EngineError that ended it early.
    """

    def __init__(self, call: Callable[[int], Counts], held: ExitStack) -> None:
        self.counts: Counts = {}  # when it is complete: entries, and what of them was left out or changed meanwhile
        self._held = held
        self._stream, self._theirs = socket.socketpair()
        self._error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, name="copy out")
        self._thread.start()

    def _run(self) -> None:
        try:
            self.counts = self._call(self._theirs.fileno())
        except OSError as error:
            self._error = KernelError.from_os(error, "reading files")
        except BaseException as error:
            self._error = error
        finally:
            self._theirs.close()

    def read(self, size: int = READ_BYTES, /) -> bytes:
        """Up to ``size`` bytes."""
        data = self._stream.recv(size)
        if not data:
            self._thread.join()
            if self._error is not None:
                raise self._error
        return data

    def close(self) -> None:
        """Break it off, if it is not complete; on return nothing of it is left."""
        self._stream.close()
        self._thread.join()
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@only_engine_errors
class Files:
    """Looks at, copies out and copies in files of containers. Paths are absolute, in the container.

    While a copy of a container lasts that does not run, it cannot start; one of a running one ends with it. Whoever may
    not enter a container may not have its files either: Denied, by `policy.enter`.
    """

    def __init__(
        self,
        paths: Paths,
        records: Records,
        launcher: LauncherClient,
        image_of: Callable[[str], Image],
        unpack_base: Callable[[], int],
    ) -> None:
        self._paths = paths
        self._records = records
        self._launcher = launcher
        self._image_of = image_of
        self._unpack_base = unpack_base

    def stat(self, ref: str, path: str, *, follow: bool = True, caller: Caller = ROOT) -> PathStat:
        """What a path is; NotFound when there is nothing."""
        return PathStat(**self.ask(ref, caller, "stat", path=path, follow=follow))

    def ask(self, ref: str, caller: Caller, act: str, **wanted: Any) -> Counts:
        """One act of `engine.files.worker` that needs no stream."""
        policy.check_path(wanted["path"])
        with self._root(ref, caller) as (root, lock), _nowhere() as nowhere:
            return self._serve(act, root, nowhere, lock, **wanted)

    def outgoing(self, ref: str, caller: Caller, act: str, **wanted: Any) -> Outgoing:
        """One that writes to a stream."""
        policy.check_path(wanted["path"])
        held = ExitStack()
        try:
            root, lock = held.enter_context(self._root(ref, caller))
        except BaseException:
            held.close()
            raise
        return Outgoing(lambda stream: self._serve(act, root, stream, lock, **wanted), held)

    def incoming(self, ref: str, caller: Caller, act: str, source: Source, **wanted: Any) -> Counts:
        """One that reads a stream, which is fed from ``source`` in this thread."""
        policy.check_path(wanted["path"])
        with self._root(ref, caller) as (root, lock):
            guard = DiskGuard(self._paths.containers)
            return _fed(lambda stream: self._serve(act, root, stream, lock, **wanted), source, guard)

    def copy_out(
        self, ref: str, path: str, name: str, *, follow: bool = False, one_mount: bool = False, top: bool = False,
        caller: Caller = ROOT,
    ) -> Outgoing:  # fmt: skip
        """A file or directory as a tar stream in which it is called ``name``; "": what is in the directory.

        ``follow`` a link at the path's end; ``one_mount`` leaves out what is mounted below; with ``top`` owner and mode
        of the directory whose content it is come first.
        """
        return self.outgoing(ref, caller, "send", path=path, name=name, follow=follow, one_mount=one_mount, top=top)

    def copy_in(
        self, ref: str, path: str, source: Source, *, owner: tuple[int, int] | None = None, caller: Caller = ROOT
    ) -> Counts:
        """Unpack a tar stream below a directory; with ``owner`` all is its, and no set-id bit comes along.

        Returns entries, size_bytes and skipped_devices.
        """
        return self.incoming(ref, caller, "receive", source, path=path, owner=owner, set_id=True, keep_top=False)

    def export(self, ref: str, *, caller: Caller = ROOT) -> Outgoing:
        """The whole root as a tar stream, without what is mounted in it."""
        return self.copy_out(ref, "/", "", one_mount=True, caller=caller)

    @staticmethod
    def pack(path: str, name: str, *, owner: tuple[int, int] | None = None) -> Outgoing:
        """A file or directory of this host as a tar stream; a link at its end is not followed. OSError: not there.

        ``name`` as in `copy_out`. Not for paths that somebody else may change.
        """
        return _packed(path, name, owner)

    def unpack(
        self, directory: int, source: Source, *, owner: tuple[int, int] | None = None, set_id: bool = False,
        keep_top: bool = False,
    ) -> Counts:  # fmt: skip
        """Unpack a tar stream that nobody trusts, as of `copy_out`, below an open directory of this host.

        Ids are as they are; else as `copy_in`. Set-id bits and file capabilities are left out unless ``set_id``: on a
        host they would be power over it. ``keep_top`` gives the directory the owner and mode of the archive's.
        """
        root = {"kind": "directory", "uid_base": self._unpack_base()}
        wanted = {"owner": owner, "set_id": set_id, "keep_top": keep_top}
        return _fed(
            lambda stream: self._serve("receive", root, stream, directory, path="/", **wanted),
            source,
            DiskGuard(directory),
        )

    def stat_in_image(self, image: Image, path: str) -> PathStat:
        """What a path in an image is, links followed; NotFound when there is nothing."""
        root = {"kind": "image", "uid_base": self._unpack_base(), "layers": roots.layers(self._paths, image)}
        with _nowhere() as nowhere:
            return PathStat(**self._serve("stat", root, nowhere, nowhere, path=path, follow=True))

    def copy_out_of_image(self, image: Image, path: str) -> Outgoing:
        """What is in a directory of an image, and its own owner and mode."""
        root = {"kind": "image", "uid_base": self._unpack_base(), "layers": roots.layers(self._paths, image)}
        wanted = {"path": path, "name": "", "follow": True, "one_mount": False, "top": True}
        held = ExitStack()
        nowhere = held.enter_context(_nowhere())
        return Outgoing(lambda stream: self._serve("send", root, stream, nowhere, **wanted), held)

    def changes(self, ref: str, *, caller: Caller = ROOT) -> Iterator[Change]:
        """What a container changed of its image, sorted by name within each directory."""
        with self._of_upper(ref, "changes", caller) as stream:
            yield from changes.parse(stream)

    def layer(self, ref: str) -> Outgoing:
        """The same as a layer, a tar stream."""
        return self._of_upper(ref, "layer", ROOT)

    def _of_upper(self, ref: str, act: str, caller: Caller) -> Outgoing:
        container = self._records.find(ref)
        policy.enter(container.spec, caller)
        state.require("copy", container.state, container.name)
        image = self._image_of(container.image_id)
        root = {"kind": "changes", "uid_base": container.uid_base, **roots.overlay(self._paths, container.id, image)}
        held = ExitStack()
        lock = held.enter_context(roots.locked(self._paths, container, shared=True))
        return Outgoing(lambda stream: self._serve(act, root, stream, lock), held)

    def _root(self, ref: str, caller: Caller) -> AbstractContextManager[tuple[Request, int]]:
        container = self._records.find(ref)
        policy.enter(container.spec, caller)
        return roots.root(self._paths, self._records, container, self._image_of(container.image_id))

    def _serve(self, act: str, root: Request, stream: int, other: int, **wanted: Any) -> Counts:
        request = {"act": act, "root": root, "max_bytes": policy.MAX_COPY_BYTES, "deadline_s": DEADLINE_S, **wanted}
        return self._launcher.call("files", request, [stream, other], timeout_s=None)


def _fed(call: Callable[[int], Counts], source: Source, guard: DiskGuard) -> Counts:
    """Feed a call that reads a stream, from this thread."""

    def chunks() -> Iterator[bytes]:
        while data := source.read(READ_BYTES):
            guard(len(data))
            yield data

    return feed(call, chunks())[0]


def _packed(path: str, name: str, owner: tuple[int, int] | None) -> Outgoing:
    before, last = os.path.split(os.path.normpath(path))
    held = ExitStack()
    parent = os.open((path if not name else before) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    held.callback(os.close, parent)

    def collect(stream: int) -> Counts:
        with open(stream, "wb", buffering=READ_BYTES, closefd=False) as sink:
            writer = Writer(sink.write)
            collector = Collector(writer, owner=owner)
            if name:
                collector.add(parent, os.fsencode(last), os.fsencode(name))
            else:
                collector.content(parent, b"")
            writer.end()
        return collector.counts()

    return Outgoing(collect, held)


@contextmanager
def _nowhere() -> Iterator[int]:
    """In the place of a stream or a lock that is not needed."""
    descriptor = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
