"""Pages of a log: some lines before or after a place, at the cost of what is read, not of what there is.

A place is a line's: the segment, the frame and which of the frame's line ends is the line's. It stays true for as
long as the segment is there. Lines are in the order of their ends, and each has the time of its end.

Frames are walked backwards as well as forwards: each tells how long the one before was. A line that began in an earlier
frame is put together on the way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from engine.containers.logback import BACK_BYTES, BACK_FRAMES, Backwards
from engine.containers.logindex import Frame, Indexes, Segment, frame_at, payload_of
from engine.containers.logrows import (
    FIRST,
    FRESH,
    MAX_LINE_BYTES,
    NOWHERE,
    STREAMS,
    LogPage,
    LogPlace,
    LogRow,
    is_ended,
)
from engine.containers.logsearch import EVERYTHING, Wanted
from engine.shim.stdio import FRAME, NOTE, STDERR, STDOUT
from engine.storage.paths import Paths

LIMIT_S = 1.0


class LogPages:
    """Reads one log in pages. Every call opens what it needs; threads may share it."""

    def __init__(self, paths: Paths, container_id: str, indexes: Indexes) -> None:
        self._directory = str(paths.log(container_id))
        self._run_record = paths.run_record(container_id)
        self._exit_record = paths.exit_record(container_id)
        self._indexes = indexes

    @property
    def ended(self) -> bool:
        """Nobody writes this log now."""
        return is_ended(self._run_record, self._exit_record)

    def before(
        self,
        place: LogPlace | None,
        count: int,
        wanted: Wanted = EVERYTHING,
        *,
        ended: bool = False,
        limit_s: float = LIMIT_S,
    ) -> LogPage:
        """The last ``count`` wanted lines before a place, or for None before the end.

        With ``ended`` a last line without a newline is one. Stops after about ``limit_s``, with what it has.
        NotFound for a place that is not in the log.
        """
        deadline = time.monotonic() + limit_s
        start = place or (self.at_time(wanted.until_ns + 1) if wanted.until_ns is not None else self.end())
        collector = Backwards(wanted, tail=ended and place is None and wanted.until_ns is None)
        first, more, full = start, False, False
        for number, descriptor, frame in self._frames_back(start):
            if full:
                if not collector.goes_on(frame, descriptor):
                    break
                continue
            if wanted.since_ns is not None and frame.time_ns < wanted.since_ns:
                full = True
                collector.goes_on(frame, descriptor)
                continue
            upto = max(start.line, 0) if (number, frame.offset) == start[:2] else None
            if wanted.takes(frame.stream):
                first = collector.take(number, frame, payload_of(descriptor, frame), upto, count)
            else:
                first = LogPlace(number, frame.offset, 0)
            if len(collector.rows) >= count or time.monotonic() > deadline:
                more = full = True
        rows = collector.finish()
        if len(rows) > count:
            rows, more = rows[-count:] if count else [], True
            first = rows[0].place if rows else start
        tail = ended and place is None and wanted.until_ns is None
        return LogPage(rows, first, start._replace(line=FRESH) if tail else start, more)

    def after(
        self,
        place: LogPlace | None,
        count: int,
        wanted: Wanted = EVERYTHING,
        *,
        ended: bool = False,
        limit_s: float = LIMIT_S,
    ) -> LogPage:
        """The first ``count`` wanted lines after a place, or from the log's beginning; else as `before`."""
        deadline = time.monotonic() + limit_s
        numbers = self.segments()
        oldest = LogPlace(numbers[0], 0, FIRST) if numbers else NOWHERE
        start = place or (self.at_time(wanted.since_ns) if wanted.since_ns is not None else oldest)
        # 1 is the first: who comes from an empty log has lost nothing yet. Below 0 nothing ever was.
        lost = start.segment < 0 or max(start.segment, 1) < oldest.segment
        start = max(start, oldest)
        heads = {STDOUT: b"", STDERR: b""} if start.line == FRESH or lost else {}
        open_lines: dict[int, LogRow] = {}
        rows: list[LogRow] = []
        last = start
        for number, descriptor, frame in self._frames_on(start):
            if wanted.until_ns is not None and frame.time_ns > wanted.until_ns:
                return LogPage(rows, start, last, False, lost)
            here = LogPlace(number, frame.offset, FIRST)
            if frame.stream == NOTE or not wanted.takes(frame.stream):
                last = here._replace(frame=frame.end)
                continue
            payload = payload_of(descriptor, frame)
            given = start.line if here[:2] == start[:2] else FIRST
            if given < 0 and frame.stream not in heads:
                heads[frame.stream] = self._head(here, frame.stream)
            body, newline, rest = payload.rpartition(b"\n")
            stream = STREAMS[frame.stream]
            if newline:
                body = heads.get(frame.stream, b"") + body
                for line, text in wanted.among(body):
                    if line > given:
                        rows.append(LogRow(here._replace(line=line), frame.time_ns, stream, text[:MAX_LINE_BYTES]))
                        if len(rows) == count:
                            return LogPage(rows, start, rows[-1].place, True, lost)
                heads[frame.stream] = rest
            else:
                heads[frame.stream] = (heads.get(frame.stream, b"") + rest)[:MAX_LINE_BYTES]
            at = here._replace(line=payload.count(b"\n"))
            open_lines[frame.stream] = LogRow(at, frame.time_ns, stream, heads[frame.stream])
            last = here._replace(frame=frame.end)
            if time.monotonic() > deadline:
                return LogPage(rows, start, last, True, lost)
        if ended and last.line != FRESH:
            left = [self._open_line(last, stream) for stream in STREAMS if wanted.takes(stream) and stream not in heads]
            left += [row for row in open_lines.values() if row.place > start]
            rows += sorted(row for row in left if row and row.text and wanted.takes_line(row.text))
            last = last._replace(line=FRESH) if last.line == FIRST else last
        return LogPage(rows, start, last, False, lost)

    def segments(self) -> list[int]:
        """The numbers of those that are there; none when the container was removed."""
        try:
            return sorted(int(name) for name in os.listdir(self._directory) if name.isdigit())
        except FileNotFoundError:
            return []

    def end(self) -> LogPlace:
        """Where the next frame will begin."""
        for number in reversed(self.segments()):
            with Segment(self._directory, number, self._indexes) as segment:
                if segment:
                    return LogPlace(number, segment.index.end, FIRST)
        return NOWHERE

    def at_time(self, time_ns: int) -> LogPlace:
        """Before the first frame that is not older."""
        found = NOWHERE
        for number in self.segments():
            with Segment(self._directory, number, self._indexes) as segment:
                if not segment:
                    continue
                if segment.index.begun_ns >= time_ns and found != NOWHERE:
                    break
                found = LogPlace(number, segment.index.at_time(segment.descriptor, time_ns), FIRST)
        return found

    def lines_before(self, place: LogPlace) -> int | None:
        """How many lines the log had before a place since it was begun, rotated ones included; None when it is gone."""
        if place.segment == NOWHERE.segment:
            return 0
        lines = None
        for number in self.segments():
            if number > place.segment:
                break
            with Segment(self._directory, number, self._indexes) as segment:
                if not segment:
                    continue
                lines = self._rotated(number) if lines is None else lines
                upto = place.frame if number == place.segment else segment.index.end
                lines += segment.index.lines_before(segment.descriptor, upto)
                if number == place.segment:
                    return lines + max(place.line + 1, 0)
        return None

    def lines_between(self, place: LogPlace, end: LogPlace) -> int | None:
        """How many lines lie between two places; None when the first is gone."""
        lines, found = 0, False
        for number in self.segments():
            if not place.segment <= number <= end.segment:
                continue
            with Segment(self._directory, number, self._indexes) as segment:
                if segment:
                    upto = end.frame if number == end.segment else segment.index.end
                    lines += segment.index.lines_before(segment.descriptor, upto)
                    if number == place.segment:
                        found = True
                        lines -= segment.index.lines_before(segment.descriptor, place.frame) + max(place.line + 1, 0)
        return lines + max(end.line + 1, 0) if found else None

    def bytes_after(self, place: LogPlace) -> int:
        """How much there is to read after a place."""
        total = 0
        for number in self.segments():
            if number >= place.segment:
                with Segment(self._directory, number, self._indexes) as segment:
                    if segment:
                        total += segment.index.end - (place.frame if number == place.segment else 0)
        return total

    def _rotated(self, oldest: int) -> int:
        """Lines of the segments before the oldest one: the note that was written when it became that tells."""
        for number in self.segments():
            with Segment(self._directory, number, self._indexes) as segment:
                head = os.pread(segment.descriptor, FRAME.size, 0) if segment else b""
                if len(head) == FRAME.size:
                    note = FRAME.unpack(head)
                    if note[1] == NOTE and note[5] == oldest:
                        return int(note[7])
        return 0

    def _frames_back(self, start: LogPlace) -> Iterator[tuple[int, int, Frame]]:
        """(segment, descriptor, frame), the last first: the one of the place itself when lines of it lie before."""
        for number in reversed(self.segments()):
            if number > start.segment:
                continue
            with Segment(self._directory, number, self._indexes) as segment:
                if not segment:
                    continue
                if number < start.segment:
                    at = segment.index.last
                else:
                    segment.check(start.frame)
                    at = segment.before(start.frame) if start.line <= 0 else start.frame
                while at >= 0:
                    frame = frame_at(segment.descriptor, at)
                    yield number, segment.descriptor, frame
                    at = at - FRAME.size - frame.previous if at else -1

    def _frames_on(self, start: LogPlace) -> Iterator[tuple[int, int, Frame]]:
        """(segment, descriptor, frame), from the one of the place on."""
        for number in self.segments():
            if number < start.segment:
                continue
            with Segment(self._directory, number, self._indexes) as segment:
                if not segment:
                    continue
                if number == start.segment:
                    segment.check(start.frame)
                at = start.frame if number == start.segment else 0
                while at < segment.index.end:
                    frame = frame_at(segment.descriptor, at)
                    yield number, segment.descriptor, frame
                    at = frame.end

    def _head(self, place: LogPlace, stream: int) -> bytes:
        """What a stream wrote before a place since its last newline."""
        row = self._open_line(place, stream)
        return row.text if row else b""

    def _open_line(self, place: LogPlace, stream: int) -> LogRow | None:
        """The same as a line, dated and placed by its last part."""
        row: LogRow | None = None
        frames = read = 0
        for number, descriptor, frame in self._frames_back(place):
            frames, read = frames + 1, read + frame.length
            if frames > BACK_FRAMES or read > BACK_BYTES:
                break
            if frame.stream == stream:
                payload = payload_of(descriptor, frame)
                _line, newline, rest = payload.rpartition(b"\n")
                at = LogPlace(number, frame.offset, payload.count(b"\n"))
                row = row or LogRow(at, frame.time_ns, STREAMS[stream], b"")
                row = row._replace(text=(rest + row.text)[:MAX_LINE_BYTES])
                if newline:
                    break
        return row
