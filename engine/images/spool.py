"""From whatever was given to a plain tar that can be read anywhere: opened, decompressed, copied where needed.

Copies are files without a name in the instance's tmp directory, so that no crash leaves one.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from engine.archives.index import Index, Member
from engine.archives.streams import MAGIC_BYTES, Counted, Decompressed, DiskGuard, Hashed, Megabytes, compression
from engine.archives.tar import READ_BYTES, Reader
from engine.errors import Corrupt, InvalidRequest, NotFound
from engine.images.reference import reference as reference_of

ARCHIVE_BYTES = 64 * 2**30
_SUFFIXES = re.compile(r"(\.(tar|tgz|txz|tbz2?|gz|xz|bz2|oci))+$")


@contextmanager
def opened(source: Path | BinaryIO, directory: Path, say: Callable[[str], None]) -> Iterator[BinaryIO]:
    """The plain tar inside ``source``; a stream that is passed in stays open."""
    if isinstance(source, Path):
        with _open(source) as file, opened(file, directory, say) as plain:
            yield plain
        return
    if source.seekable():
        source.seek(0)
        head = source.read(MAGIC_BYTES)
        source.seek(0)
        if not compression(head):
            yield source
            return
    say("Receiving the archive")
    with tempfile.TemporaryFile(dir=directory) as copy:
        guard = DiskGuard(directory)
        count = Megabytes("Archive", say)
        for data in Decompressed(source, max_bytes=ARCHIVE_BYTES):
            copy.write(data)
            guard(len(data))
            count(len(data))
        copy.seek(0)
        yield copy


def index(file: BinaryIO) -> Index:
    """The archive's index; InvalidRequest when the file is no tar, or holds nothing."""
    file.seek(0)
    try:
        next(iter(Reader(file, end_marker=False)), None)
    except Corrupt as error:
        raise InvalidRequest(
            "this is no tar archive",
            hint="give the output of `docker save`, an OCI layout, or a root file system, as tar or compressed tar",
            field="source",
        ) from error
    found = Index(file)
    if not found.entries:
        raise InvalidRequest("the archive is empty", field="source")
    return found


def measured(file: BinaryIO, count: Callable[[int], None]) -> tuple[Member, str]:
    """The whole file as one member, and its digest. It must be complete: no digest from elsewhere vouches for it."""
    file.seek(0)
    hashed = Hashed(Counted(file, count))
    reader = Reader(hashed)
    for _ in reader:
        pass
    while hashed.read(READ_BYTES):
        pass
    return Member(0, hashed.read_bytes), hashed.digest


def derived_name(source: Path | BinaryIO) -> str:
    """A reference from the name of the file, or InvalidRequest that asks for one."""
    name = source.name if isinstance(source, Path) else getattr(source, "name", "")
    stem = os.path.basename(name) if isinstance(name, str) else ""
    try:
        return reference_of(re.sub(r"[^a-z0-9]+", "-", _SUFFIXES.sub("", stem.lower())).strip("-"))
    except InvalidRequest:
        raise InvalidRequest("the image needs a name", hint="write one like debian:12", field="name") from None


def _open(path: Path) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a FIFO must not wait
    except FileNotFoundError:
        raise NotFound(
            f"there is no file {str(path)!r}", hint="give a path on the host", field="source", subject=str(path)
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{str(path)!r} cannot be read: {error}", field="source") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidRequest(
            f"{str(path)!r} is not a file", hint="give a tar archive, perhaps compressed", field="source"
        )
    return open(descriptor, "rb", buffering=READ_BYTES)
