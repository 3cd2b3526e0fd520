"""Find one's way in a log segment without reading all of it; the format: `engine.shim.stdio`."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence

from engine.errors import KernelError
from engine.shim.stdio import FRAME, MAGIC, NOTE

_READ_BYTES = 1 << 20
_HEAD_BYTES = 4096  # read for a header: a few small frames, and little of a large one
_MAX_OPEN = 32


def open_segment(path: str) -> int:
    """FileNotFoundError when it was rotated away. A link in its place is followed by no reader (CVE-2026-50195)."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KernelError.from_os(error, "opening the log") from error


def frames_back(path: str) -> Iterator[tuple[int, int]]:
    """(offset, lines) of the whole frames of a segment, the last first; none when it was rotated away.

    Headers are walked from the first to the last: a container chooses what its payloads hold, so nothing that looks
    like a header may be searched for. Payloads are read only as far as somebody asks.
    """
    try:
        descriptor = open_segment(path)
    except FileNotFoundError:
        return
    try:
        for offset in reversed(_offsets(descriptor)):
            stream, length = FRAME.unpack(os.pread(descriptor, FRAME.size, offset))[1:5:3]
            payload = os.pread(descriptor, length, offset + FRAME.size)
            yield offset, 0 if stream == NOTE else payload.count(b"\n")
    finally:
        os.close(descriptor)


def _offsets(descriptor: int) -> array[int]:
    found, size = array("Q"), os.fstat(descriptor).st_size
    at, ask = 0, _HEAD_BYTES
    while at + FRAME.size <= size:
        data, offset, before = os.pread(descriptor, ask, at), 0, len(found)
        while offset + FRAME.size <= len(data):
            end = offset + FRAME.size + FRAME.unpack_from(data, offset)[4]
            if at + end > size:  # it is just being written
                return found
            found.append(at + offset)
            offset = end
        if not offset:
            return found
        at += offset
        ask = _READ_BYTES if len(found) - before > _HEAD_BYTES // 512 else _HEAD_BYTES
    return found


class Backlog:
    """The lines before the place where a reader began: counted a little at a time, and needed only if lines are lost.

    The segments are held open, so that rotation takes nothing away that is not counted yet.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._left: list[tuple[int, int]] = []  # descriptor, and the offset up to which it is to be counted
        self._at = 0
        self._lines = 0
        for path in paths:
            try:
                descriptor = open_segment(path)
            except FileNotFoundError:
                continue
            self.add(descriptor, os.fstat(descriptor).st_size)

    def add(self, descriptor: int, end: int) -> None:
        """One more segment, which is closed in time."""
        self._left.append((descriptor, end))
        if len(self._left) > _MAX_OPEN:
            self.count()

    def count(self, most_bytes: int | None = None) -> int:
        """Count on; all of it, or about ``most_bytes`` more. How many lines there are up to where it came."""
        while self._left and (most_bytes is None or most_bytes > 0):
            descriptor, end = self._left[0]
            data, offset = os.pread(descriptor, min(_READ_BYTES, end - self._at), self._at), 0
            while offset + FRAME.size <= len(data):
                _magic, stream, _flags, _reserved, length, _before, _time, _last = FRAME.unpack_from(data, offset)
                start = offset + FRAME.size
                if start + length > len(data):
                    if offset:
                        break
                    data += os.pread(descriptor, start + length - len(data), self._at + len(data))
                if stream != NOTE:
                    self._lines += data.count(b"\n", start, start + length)
                offset = start + length
            self._at += offset
            if most_bytes is not None:
                most_bytes -= len(data)
            if not offset or self._at >= end:
                os.close(descriptor)
                self._left.pop(0)
                self._at = 0
        return self._lines

    def close(self) -> None:
        """Give up what is not counted."""
        for descriptor, _end in self._left:
            os.close(descriptor)
        self._left.clear()


def chunks(paths: Sequence[str], last_bytes: int) -> Iterator[tuple[int, int, bytes]]:
    """(stream, Unix time in ns, what was written then) of whole segments, the last one up to ``last_bytes``.

    A copy of bytes, nothing is decoded: ten times as fast as lines. Of a segment that is rotated away nothing comes.
    """
    for path in paths:
        try:
            descriptor = open_segment(path)
        except FileNotFoundError:
            continue
        try:
            at, end = 0, last_bytes if path == paths[-1] else os.fstat(descriptor).st_size
            while at < end:
                data, offset = os.pread(descriptor, min(_READ_BYTES, end - at), at), 0
                while offset + FRAME.size <= len(data):
                    magic, stream, _flags, _reserved, length, _before, time_ns, _last = FRAME.unpack_from(data, offset)
                    start = offset + FRAME.size
                    if start + length > len(data):
                        if offset:
                            break
                        data += os.pread(descriptor, start + length - len(data), at + len(data))
                        if start + length > len(data):
                            break
                    if magic != MAGIC:
                        break
                    if stream != NOTE:
                        yield stream, time_ns, data[start : start + length]
                    offset = start + length
                if not offset:  # it is just being written
                    return
                at += offset
        finally:
            os.close(descriptor)
