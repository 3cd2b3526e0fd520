"""Lines of a log, put together from frames that come the last first."""

from __future__ import annotations

from engine.containers.logindex import Frame, payload_of
from engine.containers.logrows import MAX_LINE_BYTES, STREAMS, LogPlace, LogRow
from engine.containers.logsearch import Wanted
from engine.shim.stdio import NOTE

BACK_FRAMES, BACK_BYTES = 4096, 4 << 20  # how far back the beginning of a line is looked for


class Backwards:
    """What was found so far."""

    def __init__(self, wanted: Wanted, *, tail: bool) -> None:
        self.rows: list[LogRow] = []
        self._wanted = wanted
        self._tail = tail  # what a stream wrote after its last newline is a line
        self._seen: set[int] = set()
        self._begun: dict[int, LogRow] = {}  # the end was read, the beginning was not
        self._frames = self._bytes = 0

    def take(self, number: int, frame: Frame, payload: bytes, upto: int | None, most: int) -> LogPlace:
        """The lines of a frame, but not its first, which may have begun before; ``upto``: only those before this one.

        Where the next page ends, if this is the last frame.
        """
        place = LogPlace(number, frame.offset, 0)
        if frame.stream == NOTE:
            return place
        name = STREAMS[frame.stream]
        if upto is not None:
            payload = payload[: len(payload) - len(payload.split(b"\n", upto)[-1])]
        body, newline, rest = payload.rpartition(b"\n")
        ends = payload.count(b"\n")
        if frame.stream in self._begun:
            self._go_on(frame.stream, payload)
        elif rest and self._tail and frame.stream not in self._seen:
            self._begun[frame.stream] = LogRow(place._replace(line=ends), frame.time_ns, name, rest)
            if newline:
                self._emit(self._begun.pop(frame.stream))
        self._seen.add(frame.stream)
        if not newline:
            return place
        if self._wanted.pattern is None and ends > most:
            lines = body.rsplit(b"\n", most)[1:] if most else []
            first = ends - len(lines)
            for line, text in enumerate(lines, first):
                self._emit(LogRow(place._replace(line=line), frame.time_ns, name, text))
            return place._replace(line=first)
        head, newline, body = body.partition(b"\n")
        if newline:
            for line, text in self._wanted.among(body):
                at = place._replace(line=line + 1)
                self.rows.append(LogRow(at, frame.time_ns, name, text[:MAX_LINE_BYTES]))
        self._begun[frame.stream] = LogRow(place, frame.time_ns, name, head)
        return place

    def goes_on(self, frame: Frame, descriptor: int) -> bool:
        """Look for the beginnings of lines only; False once none is looked for."""
        if frame.stream in self._begun:
            self._go_on(frame.stream, payload_of(descriptor, frame))
        self._frames, self._bytes = self._frames + 1, self._bytes + frame.length
        return bool(self._begun) and self._frames < BACK_FRAMES and self._bytes < BACK_BYTES

    def finish(self) -> list[LogRow]:
        """All lines, in their order."""
        for row in self._begun.values():
            self._emit(row)
        self._begun.clear()
        return sorted(self.rows)

    def _go_on(self, stream: int, payload: bytes) -> None:
        _line, newline, rest = payload.rpartition(b"\n")
        row = self._begun[stream]
        self._begun[stream] = row._replace(text=(rest + row.text)[:MAX_LINE_BYTES])
        if newline:
            self._emit(self._begun.pop(stream))

    def _emit(self, row: LogRow) -> None:
        if self._wanted.takes_line(row.text):
            self.rows.append(row._replace(text=row.text[:MAX_LINE_BYTES]))
