"""Where the frames of log segments begin; the format: `engine.shim.stdio`.

A container chooses what its payloads hold, and a page chooses the places that it asks for: one counts as a frame's
beginning only if walking from header to header leads there. Every so often the walk leaves a mark, so that the next one
is short. A finished segment does not change; of the one that is written, the walk goes on where it stopped.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

from engine import errors
from engine.containers.logframes import open_segment
from engine.shim.stdio import FRAME, MAGIC, NOTE

_MARK_BYTES = 65_536  # at least so far apart: 160 marks in a segment of the usual size
_HEAD_BYTES = 4096  # read for a header: a few small frames, and little of a large one
_READ_BYTES = 1 << 18
_KEPT = 256  # segments


class Frame(NamedTuple):
    """A header: what a payload is, and where."""

    offset: int
    stream: int
    length: int
    previous: int  # the length of the payload before
    time_ns: int

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.offset + FRAME.size + self.length


class Index:
    """The marks of one segment."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._offsets, self._times, self._lines = array("Q", [0]), array("Q", [0]), array("Q", [0])
        self.end = 0  # of the last whole frame that was seen
        self.last = -1  # where that begins
        self._counted = 0  # up to which mark lines are counted

    @property
    def begun_ns(self) -> int:
        """When the segment was begun; Unix time."""
        return self._times[0]

    def walk(self, descriptor: int) -> None:
        """Go on to the last frame that is whole now."""
        with self._lock:
            size = os.fstat(descriptor).st_size
            at, ask = self.end, _HEAD_BYTES
            while at + FRAME.size <= size:
                data, offset, seen = os.pread(descriptor, ask, at), 0, 0
                while offset + FRAME.size <= len(data):
                    magic, _stream, _f, _r, length, _before, time_ns, _last = FRAME.unpack_from(data, offset)
                    begin, end = at + offset, at + offset + FRAME.size + length
                    if magic != MAGIC or end > size:  # it is just being written
                        return
                    if begin >= self._offsets[-1] + _MARK_BYTES:
                        self._offsets.append(begin)
                        self._times.append(time_ns)
                    elif not begin:
                        self._times[0] = time_ns
                    self.last, self.end = begin, end
                    offset, seen = end - at, seen + 1
                if not offset:
                    return
                at += offset
                ask = _READ_BYTES if seen > 8 else _HEAD_BYTES

    def holds(self, descriptor: int, offset: int) -> bool:
        """Whether a frame begins there, or the next one will."""
        if offset >= self.end:
            return offset == self.end
        at = self._offsets[bisect_right(self._offsets, offset) - 1]
        while at < offset:
            at = frame_at(descriptor, at).end
        return at == offset

    def at_time(self, descriptor: int, time_ns: int) -> int:
        """Where the first frame begins that is not older; the end when all are."""
        at = self._offsets[max(0, bisect_left(self._times, time_ns) - 1)]
        while at < self.end:
            frame = frame_at(descriptor, at)
            if frame.time_ns >= time_ns:
                break
            at = frame.end
        return at

    def lines_before(self, descriptor: int, offset: int) -> int:
        """How many line ends there are before a frame; each byte is counted once, however often one asks."""
        with self._lock:
            mark = bisect_right(self._offsets, offset) - 1
            while len(self._lines) <= mark:
                known = len(self._lines) - 1
                more = _count(descriptor, self._offsets[known], self._offsets[known + 1])
                self._lines.append(self._lines[known] + more)
            return self._lines[mark] + _count(descriptor, self._offsets[mark], offset)


class Indexes:
    """The marks of the segments that were looked at last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[str, Index] = OrderedDict()

    def of(self, path: str) -> Index:
        """Those of one segment; names of segments are never used twice."""
        with self._lock:
            index = self._kept.setdefault(path, Index())
            self._kept.move_to_end(path)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return index


def frame_at(descriptor: int, offset: int) -> Frame:
    """The header at a place where one is known to be."""
    _magic, stream, _f, _r, length, previous, time_ns, _last = FRAME.unpack(os.pread(descriptor, FRAME.size, offset))
    return Frame(offset, stream, length, 0 if stream == NOTE else previous, time_ns)


def payload_of(descriptor: int, frame: Frame) -> bytes:
    """What the container wrote."""
    return os.pread(descriptor, frame.length, frame.offset + FRAME.size)


def _count(descriptor: int, at: int, end: int) -> int:
    lines = 0
    while at < end:
        frame = frame_at(descriptor, at)
        if frame.stream != NOTE:
            lines += payload_of(descriptor, frame).count(b"\n")
        at = frame.end
    return lines


class Segment:
    """An open segment with its marks; false when it was rotated away."""

    def __init__(self, directory: str, number: int, indexes: Indexes) -> None:
        self._path = f"{directory}/{number:010d}"
        self._indexes = indexes
        self.descriptor = -1
        self.index = Index()

    def __enter__(self) -> Segment:
        try:
            self.descriptor = open_segment(self._path)
        except FileNotFoundError:
            return self
        self.index = self._indexes.of(self._path)
        self.index.walk(self.descriptor)
        return self

    def __exit__(self, *_error: object) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __bool__(self) -> bool:
        return self.descriptor >= 0

    def check(self, offset: int) -> None:
        """NotFound when no frame begins there."""
        if offset < 0 or not self.index.holds(self.descriptor, offset):
            raise errors.NotFound("this line is not in the log", hint="it may be rotated away")

    def before(self, offset: int) -> int:
        """Where the frame before a frame's place begins; -1: there is none."""
        if offset >= self.index.end:
            return self.index.last
        return offset - FRAME.size - frame_at(self.descriptor, offset).previous if offset else -1
