"""Decompress and count bytes while they stream, outside of the unpack worker, with an end to every bomb.

A bomb is recognised by its ratio: no file tree compresses 200 times as a whole once it is over 100 MiB,
while 10 MB of gzip can hold 10 GB of zeros (threats: CVE-2017-14992, CVE-2023-25153).
"""

from __future__ import annotations

import bz2
import hashlib
import importlib
import lzma
import os
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from engine.archives.tar import READ_BYTES, Source
from engine.errors import Corrupt, EngineError, InvalidRequest, KernelError, Unsupported

RATIO = 200
RATIO_FROM_BYTES = 100 * 2**20
LZMA_MEMORY_BYTES = 256 * 2**20  # xz -9 needs 65 MB; more is an attack on memory
RESERVE_BYTES = 256 * 2**20  # stays free on the disk, so that stopping and removing still work
_CHECK_BYTES = 64 * 2**20
SAID_S = 0.5  # between two words of how far a copy is

_MAGIC = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))
MAGIC_BYTES = 6


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int = ...) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the interface of the other two: it keeps the input that its output had no room for."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)  # 31: gzip header and checksum; RFC 1952

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def compression(head: bytes) -> str:
    """The name of the compression that a stream's first bytes (MAGIC_BYTES of them) show; "" for none."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "")


def _decompressor(kind: str) -> _Decompressor:
    if kind == "gzip":
        return _Gzip()
    if kind == "bzip2":
        return bz2.BZ2Decompressor()
    if kind == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LZMA_MEMORY_BYTES)
    try:
        module = importlib.import_module("compression.zstd")  # Python 3.14
    except ImportError:
        raise Unsupported(
            "the archive is compressed with zstd, which this Python cannot read",
            hint="decompress it first: zstd -d FILE",
        ) from None
    made: _Decompressor = module.ZstdDecompressor()
    return made


class Decompressed:
    """A compressed or plain stream, read as what it holds; raises Corrupt for a damaged or truncated one.

    ``max_bytes`` bounds the output. Several compressed members in a row count as one stream (RFC 1952 2.2).
    """

    def __init__(self, source: Source, *, max_bytes: int) -> None:
        self._source = source
        self._max_bytes = max_bytes
        self.read_bytes = 0
        self.written_bytes = 0
        self._head = b""
        while len(self._head) < MAGIC_BYTES and (data := source.read(MAGIC_BYTES - len(self._head))):
            self._head += data
        self.compression = compression(self._head)

    def __iter__(self) -> Iterator[bytes]:
        for data in self._decompressed() if self.compression else self._raw():
            self.written_bytes += len(data)
            self._check()
            yield data

    def _raw(self) -> Iterator[bytes]:
        data, self._head = self._head, b""
        while data or (data := self._source.read(READ_BYTES)):
            self.read_bytes += len(data)
            yield data
            data = b""

    def _decompressed(self) -> Iterator[bytes]:
        inner = _decompressor(self.compression)
        fresh = True  # nothing of this member was read yet
        for raw in self._raw():
            data = raw
            while True:
                fresh = fresh and not data
                out = self._step(inner, data)
                data = b""
                if out:
                    yield out
                if inner.eof:
                    data = inner.unused_data.lstrip(b"\0")  # tapes and some tools pad with zeros
                    inner, fresh = _decompressor(self.compression), True
                    if not data:
                        break
                elif not out:
                    break
        if not fresh:
            raise _damaged(self.compression)

    def _step(self, inner: _Decompressor, data: bytes) -> bytes:
        try:
            return inner.decompress(data, READ_BYTES)
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            raise _damaged(self.compression) from error

    def _check(self) -> None:
        if self.written_bytes > self._max_bytes:
            raise InvalidRequest(f"the archive holds more than {self._max_bytes} bytes", hint="make the layer smaller")
        if self.written_bytes > max(RATIO_FROM_BYTES, RATIO * self.read_bytes) and self.compression:
            raise InvalidRequest(
                f"the archive decompresses to more than {RATIO} times its size",
                hint="it looks like a bomb; if you trust it, decompress it first",
            )


def _damaged(kind: str) -> EngineError:
    return Corrupt(f"the archive is damaged: its {kind} stream is cut off or wrong", hint="make it or copy it again")


class Bounded:
    """At most ``size`` bytes of a source; Corrupt when it ends before, so that a blob is never shorter than it says."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._left = size

    def read(self, size: int, /) -> bytes:
        data = self._source.read(min(size, self._left))
        if not data and self._left and size:
            raise Corrupt("the archive is damaged: it ends in the middle of a file", hint="make it or copy it again")
        self._left -= len(data)
        return data


class Hashed:
    """A source that is hashed (SHA-256) and counted as it is read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.read_bytes = 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        self.read_bytes += len(data)
        return data

    @property
    def digest(self) -> str:
        """``sha256:…`` of what was read so far (OCI image-spec descriptor.md, "Digests")."""
        return f"sha256:{self._hash.hexdigest()}"


class Counted:
    """A source that tells how much was read of it; what it is told to may raise, to end that."""

    def __init__(self, source: Source, count: Callable[[int], None]) -> None:
        self._source = source
        self._count = count

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._count(len(data))
        return data


class Megabytes:
    """Says how far a long copy is, now and then; call it with each amount."""

    def __init__(self, label: str, say: Callable[[str], None]) -> None:
        self._label, self._say = label, say
        self._bytes = 0
        self._said_s = time.monotonic()

    def __call__(self, size: int) -> None:
        self._bytes += size
        now_s = time.monotonic()
        if now_s - self._said_s >= SAID_S:
            self._said_s = now_s
            self._say(f"{self._label}: {self._bytes >> 20} MiB")


class DiskGuard:
    """Ends a long write before it fills the disk; call it with each amount written."""

    def __init__(self, directory: str | os.PathLike[str] | int) -> None:
        self._directory = directory
        self._since_check = _CHECK_BYTES

    def __call__(self, size: int) -> None:
        self._since_check += size
        if self._since_check < _CHECK_BYTES:
            return
        self._since_check = 0
        free = os.statvfs(self._directory)
        if free.f_bavail * free.f_frsize < RESERVE_BYTES:
            raise KernelError("the disk is nearly full", hint="free some space on the disk that holds WHARFIE_ROOT")
