"""Read a container's log: frames (`engine.shim.stdio`) into lines, without holding up the writer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from itertools import repeat
from typing import Literal, NamedTuple

from engine.containers.logframes import Backlog, frames_back, open_segment
from engine.containers.logrows import is_ended
from engine.linux.files import IN_CREATE, IN_MODIFY, IN_ONLYDIR, Inotify
from engine.shim.stdio import FRAME, MAGIC, NOTE, STDOUT
from engine.storage.paths import Paths

MAX_LINE_BYTES = 256 * 1024  # a longer line is shown in pieces, so that one without an end cannot fill memory
_READ_BYTES = 1 << 20
_SLICE_BYTES = 4 << 20


class LogLine(NamedTuple):
    """One line of output. ``lost`` lines went with rotation before it."""

    time_ns: int  # Unix time at which its last part was read from the container
    stream: Literal["stdout", "stderr"]
    text: str  # without its newline; what is not UTF-8 is replaced
    lost: int = 0


_MAKE = partial(tuple.__new__, LogLine)


class LogTail:
    """A position in one log. `read` gives the lines since the last call and never blocks.

    With ``until_now`` it reads no further than where the log ends now: a container that floods it is ahead of readers.
    """

    def __init__(self, paths: Paths, container_id: str, *, tail: int | None = None, until_now: bool = False) -> None:
        self._directory = str(paths.log(container_id))
        self._run_record = paths.run_record(container_id)
        self._exit_record = paths.exit_record(container_id)
        self._number = 0
        self._fd = -1
        self._offset = 0
        self._lost = 0  # to be said with the next line
        self._accounted = 0  # lines of the whole log that were given out or are counted as lost
        self._partial: dict[int, bytes] = {}
        self._partial_time: dict[int, int] = {}
        self._ready: list[LogLine] = []
        self._given = 0  # how many of them were given out
        self._keep: int | None = None  # while the end is looked for: how many lines of a frame are of interest
        self._limit: tuple[int, int] | None = None
        self._backlog = Backlog([])
        end = self._end() if tail is None else self._start_at_tail(tail)
        if until_now:
            self._limit = end

    def _segments(self) -> list[int]:
        try:
            return sorted(int(name) for name in os.listdir(self._directory) if name.isdigit())
        except FileNotFoundError:  # the container was removed
            return []

    def _start_at_tail(self, wanted: int) -> tuple[int, int]:
        """Begin at the youngest frame from which on there are more than ``wanted`` lines, and drop those too many.

        Returns the end that this was reckoned from. What lies before is counted later, when there is time.
        """
        segments = self._segments()
        number = offset = have = 0
        for number in reversed(segments):
            for at, lines in frames_back(self._path(number)):
                offset = at
                have += lines
                if have > wanted:
                    break
            if have > wanted:
                break
        if not segments:
            return 0, 0
        self._accounted = self._lost_before(segments[0])
        self._backlog = Backlog([self._path(older) for older in segments if older < number])
        self._number = number - 1
        if not self._next_segment():
            return 0, 0
        self._offset = offset
        self._backlog.add(os.dup(self._fd), offset)
        end = self._end()
        self._keep = wanted
        while (self._number, self._offset) < end and self._fill():
            del self._ready[: max(0, len(self._ready) - wanted)]
        self._keep = None
        return end

    def _size(self, number: int) -> int:
        try:
            return os.stat(self._path(number)).st_size
        except FileNotFoundError:
            return 0

    def _end(self) -> tuple[int, int]:
        """Where the log ends now."""
        segments = self._segments()
        return (segments[-1], self._size(segments[-1])) if segments else (0, 0)

    def read(self, max_lines: int = 1000) -> list[LogLine]:
        """At most ``max_lines`` lines that came since the last call; [] when there are none."""
        ended = self.ended  # asked first: what comes after the question is read the next time
        while len(self._ready) - self._given < max_lines and self._fill():
            pass
        if not self._ready:
            self._backlog.count(_SLICE_BYTES)
            if ended:
                self._flush()
        found = self._ready[self._given : self._given + max_lines]
        self._given += len(found)
        if self._given == len(self._ready):
            self._ready.clear()
            self._given = 0
        return found

    @property
    def ended(self) -> bool:
        """Nobody writes this log now."""
        return is_ended(self._run_record, self._exit_record)

    @property
    def finished(self) -> bool:
        """The container has ended and everything was read."""
        return (
            self.ended and not self._ready and not self._fill() and not self._ready and not any(self._partial.values())
        )

    @property
    def waits(self) -> bool:
        """Asked after a read that gave nothing: whether only a change of the log, or the container's end, brings more.

        Not so when the container has just ended: its last line without a newline comes with the next read.
        """
        return not self.ended or self.finished

    def _fill(self) -> bool:
        """Take one chunk of frames; False when nothing new is there."""
        if self._limit is not None and (self._number, self._offset) >= self._limit:
            return False
        if self._fd < 0 and not self._next_segment():
            return False
        for _ in range(2):
            used = self._parse(os.pread(self._fd, _READ_BYTES, self._offset))
            self._offset += used
            if used:
                return True
            if not any(number > self._number for number in self._segments()):
                return False
            # There is a later one, so nothing more comes here: but look again, for what came before it was begun.
        return self._next_segment()

    def _next_segment(self) -> bool:
        for number in self._segments():
            if number > self._number:
                try:
                    opened = open_segment(self._path(number))
                except FileNotFoundError:  # rotated away between the two calls
                    continue
                if self._fd >= 0:
                    os.close(self._fd)
                if not self._number or number > self._number + 1:  # what lay before was rotated away
                    before = self._lost_before(number)
                    accounted = self._accounted + self._backlog.count()
                    self._lost += max(0, before - accounted)
                    self._accounted += max(0, before - accounted)
                    self._partial.clear()
                self._fd, self._number, self._offset = opened, number, 0
                return True
        return False

    def _parse(self, data: bytes) -> int:
        offset = 0
        while offset + FRAME.size <= len(data):
            magic, stream, _flags, _reserved, length, _previous, time_ns, _ = FRAME.unpack_from(data, offset)
            if magic != MAGIC or offset + FRAME.size + length > len(data):
                break
            payload = data[offset + FRAME.size : offset + FRAME.size + length]
            offset += FRAME.size + length
            if stream != NOTE:
                self._take(stream, time_ns, payload)
        if not offset and len(data) == _READ_BYTES:
            return self._large_frame(data)
        return offset

    def _large_frame(self, data: bytes) -> int:
        """A frame larger than one read: read it whole; at most a segment, and a pipe holds 1 MiB at a time."""
        _magic, stream, _f, _r, length, _p, time_ns, _l = FRAME.unpack_from(data)
        payload = os.pread(self._fd, length, self._offset + FRAME.size)
        if len(payload) < length:
            return 0
        self._take(stream, time_ns, payload)
        return FRAME.size + int(length)

    def _lost_before(self, oldest: int) -> int:
        """Lines of the segments before ``oldest``: the note that was written when it became the oldest tells."""
        for number in self._segments():
            try:
                descriptor = open_segment(self._path(number))
            except FileNotFoundError:
                continue
            head = os.pread(descriptor, FRAME.size, 0)
            os.close(descriptor)
            if len(head) == FRAME.size:
                note = FRAME.unpack(head)
                if note[1] == NOTE and note[5] == oldest:
                    return int(note[7])
        return 0

    def _path(self, number: int) -> str:
        return f"{self._directory}/{number:010d}"

    def _take(self, stream: int, time_ns: int, payload: bytes) -> None:
        data = self._partial.pop(stream, b"") + payload
        end = data.rfind(b"\n")
        # Decoded as a whole: what is not UTF-8 is replaced up to a line's end, and never takes that away.
        lines = data[:end].decode("utf-8", "replace").split("\n") if end >= 0 else []
        rest = data[end + 1 :]
        self._accounted += len(lines)  # line ends, all in this payload: what came before holds none
        while len(rest) > MAX_LINE_BYTES:
            lines.append(rest[:MAX_LINE_BYTES].decode("utf-8", "replace"))
            rest = rest[MAX_LINE_BYTES:]
        self._partial[stream] = rest
        self._partial_time[stream] = time_ns
        if self._keep is not None:
            lines = lines[-self._keep :] if self._keep else []
        self._emit(stream, time_ns, lines)

    def _emit(self, stream: int, time_ns: int, lines: Sequence[str]) -> None:
        """Many at once, and no Python for each: what was lost before is told with the first."""
        if not lines:
            return
        name: Literal["stdout", "stderr"] = "stdout" if stream == STDOUT else "stderr"
        if self._lost:
            self._ready.append(LogLine(time_ns, name, lines[0], self._lost))
            self._lost, lines = 0, lines[1:]
        self._ready.extend(map(_MAKE, zip(repeat(time_ns), repeat(name), lines, repeat(0), strict=False)))

    def _flush(self) -> None:
        """Give out last lines that have no newline, once nothing more can come."""
        for stream, rest in self._partial.items():
            if rest:
                self._emit(stream, self._partial_time[stream], [rest.decode("utf-8", "replace")])
        self._partial.clear()

    def close(self) -> None:
        """Close the segment."""
        self._backlog.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LogWatch:
    """Tells which of many logs have grown; one inotify(7) instance for all."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._inotify = Inotify()
        self._by_watch: dict[int, str] = {}
        self._by_id: dict[str, int] = {}

    def fileno(self) -> int:
        """Readable when a log has grown; for poll, or asyncio's add_reader."""
        return self._inotify.fileno()

    def add(self, container_id: str) -> None:
        """Watch a container's log."""
        watch = self._inotify.add(str(self._paths.log(container_id)), IN_MODIFY | IN_CREATE | IN_ONLYDIR)
        self._by_watch[watch] = container_id
        self._by_id[container_id] = watch

    def discard(self, container_id: str) -> None:
        """Stop watching it."""
        watch = self._by_id.pop(container_id, None)
        if watch is not None:
            self._by_watch.pop(watch, None)
            self._inotify.remove(watch)

    def changed(self) -> set[str]:
        """Ids of the containers whose logs have grown since the last call."""
        return {self._by_watch[watch] for watch, _ in self._inotify.read() if watch in self._by_watch}

    def close(self) -> None:
        """End all watches."""
        self._inotify.close()
