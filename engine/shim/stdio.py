"""The container's output: pipes into log segments, moved by splice(2) without being looked at.

A segment is a file of frames, each a 32-byte header and its payload:

    magic "WLOG" · stream (0 note, 1 stdout, 2 stderr) · flags · reserved · length · length of the frame before ·
    time in ns (Unix) · 0

A segment begins with a note, a frame without payload whose last numbers say something else: the number of the oldest
segment that was left when this one was begun, and how many lines the ones before that had.

Segments are named by a rising number. A full one is followed by a new one, and each run begins one. The oldest are
deleted first, so that the directory never holds more bytes than so many full ones do: of short runs it keeps many. What
is deleted is counted, in lines, and said in the new segment's note.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios
import time
from typing import Any, BinaryIO

FRAME = struct.Struct("<4sBBHIIQQ")
MAGIC = b"WLOG"
NOTE, STDOUT, STDERR = 0, 1, 2
PIPE_BYTES = 2**20
MOST_SEGMENTS = 100  # of short runs; a reader looks at each
_NAP_S = 0.0005
_FULL = (errno.ENOSPC, errno.EDQUOT)
_BUSY_NS = 300_000


def open_pipe(owner: int) -> tuple[int, int]:
    """(read end, a descriptor of the same pipe opened O_RDWR for the container), owned by the container's root.

    Read-write, so that a writer does not die of SIGPIPE while no shim reads; and owned, so that a user
    in the container can open /dev/stdout.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        os.fchown(write_end, owner, owner)
        both = os.open(f"/proc/self/fd/{write_end}", os.O_RDWR | os.O_CLOEXEC)
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    return read_end, both


class Log:
    """The log of one container: where frames go, and rotation."""

    def __init__(
        self, directory: str, segment_bytes: int, segments: int, fd: int, numbers: list[int], lost: int,
        size: int = FRAME.size, previous: int = 0,
    ) -> None:  # fmt: skip
        self.directory = directory
        self._segment_bytes = max(segment_bytes, 4 * FRAME.size)
        self._segments = max(segments, 2)
        self.fd = fd  # of the segment that is written
        self._numbers = numbers
        self._lost = lost
        self._size, self._previous = size, previous

    @classmethod
    def begun(cls, directory: str, segment_bytes: int, segments: int) -> Log:
        """A log that goes on after what is in ``directory``, with a segment of its own."""
        numbers = sorted(int(name) for name in os.listdir(directory) if name.isdigit())
        lost = 0
        if numbers:
            with _segment(f"{directory}/{numbers[-1]:010d}") as file:
                note = file.read(FRAME.size)
            if len(note) == FRAME.size:
                lost = FRAME.unpack(note)[7]
        log = cls(directory, segment_bytes, segments, -1, numbers, lost)
        log._rotate(log._most_bytes)
        return log

    def state(self) -> dict[str, Any]:
        """What another process needs besides `fd` to go on with it, before anything was appended."""
        return {"numbers": self._numbers, "lost": self._lost, "size": self._size, "previous": self._previous}

    @classmethod
    def resumed(cls, directory: str, segment_bytes: int, segments: int, pipes: dict[int, int]) -> Log:
        """The log of a shim that was killed. A frame that it had begun is finished: what is missing is what the pipe of
        its stream holds first, since splice(2) takes nothing out before it has put it in."""
        numbers = sorted(int(name) for name in os.listdir(directory) if name.isdigit())
        fd = os.open(f"{directory}/{numbers[-1]:010d}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        end = os.fstat(fd).st_size
        note = os.pread(fd, FRAME.size, 0)
        lost = FRAME.unpack(note)[7] if len(note) == FRAME.size else 0
        at, previous = 0, 0
        while len(head := os.pread(fd, FRAME.size, at)) == FRAME.size:
            magic, stream, flags, reserved, length, before, time_ns, last = FRAME.unpack(head)
            if magic != MAGIC:
                break
            missing = at + FRAME.size + length - end
            if missing > 0:
                os.lseek(fd, end, os.SEEK_SET)
                length -= missing - _moved(pipes.get(stream, -1), fd, missing)
                if not length:
                    break
                os.pwrite(fd, FRAME.pack(magic, stream, flags, reserved, length, before, time_ns, last), at)
            at += FRAME.size + length
            previous = length
        os.ftruncate(fd, at)
        os.lseek(fd, at, os.SEEK_SET)
        return cls(directory, segment_bytes, segments, fd, numbers, lost, at, previous)

    @property
    def _most_bytes(self) -> int:
        """What the others may hold beside a full one."""
        return (self._segments - 1) * self._segment_bytes

    def _path(self, number: int) -> str:
        return f"{self.directory}/{number:010d}"

    def _held(self) -> int:
        """Bytes of all segments."""
        return sum(os.lstat(self._path(number)).st_size for number in self._numbers)

    def _rotate(self, most_bytes: int) -> None:
        """Begin a segment, once the others hold no more than ``most_bytes`` and are not too many."""
        # Fewer than were promised are within it, be they full.
        few = len(self._numbers) < self._segments and most_bytes >= self._most_bytes
        over = 0 if few else self._held() - most_bytes
        while self._numbers and (over > 0 or len(self._numbers) >= max(self._segments, MOST_SEGMENTS)):
            path = self._path(self._numbers[0])
            over -= os.lstat(path).st_size
            self._lost += count_lines(path)
            os.unlink(path)
            del self._numbers[0]
        number = self._numbers[-1] + 1 if self._numbers else 1
        path = self._path(number)
        oldest = self._numbers[0] if self._numbers else number
        # Not O_APPEND: splice(2) refuses such a target.
        new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        note = FRAME.pack(MAGIC, NOTE, 0, 0, 0, oldest, time.time_ns(), self._lost)
        try:
            if os.write(new, note) < len(note):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        except OSError:
            os.close(new)
            os.unlink(path)
            raise
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = new
        self._numbers.append(number)
        self._size, self._previous = FRAME.size, 0

    def append(self, stream: int, pipe: int, available: int) -> bool:
        """Move ``available`` bytes from a pipe into the log.

        False when the disk is full, with nothing of the log left to give up for room: what was not moved is still in
        the pipe, and nothing in the log is torn.
        """
        while available:
            room = self._segment_bytes - self._size - FRAME.size
            if room <= 0:
                if not self._make_room(self._most_bytes):
                    return False
                continue
            length = min(available, room)
            moved = self._frame(stream, pipe, length)
            available -= moved
            if moved < length and not self._make_room(min(self._most_bytes, self._held() - 1)):
                return False
        return True

    def _make_room(self, most_bytes: int) -> bool:
        """Begin a segment beside others of ``most_bytes``, or of as many as there is room for; False when it is not for
        the one that is written either."""
        while most_bytes >= self._size:
            try:
                self._rotate(most_bytes)
                return True
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                most_bytes = min(most_bytes, self._held() - 1)
        return False

    def _frame(self, stream: int, pipe: int, length: int) -> int:
        """Write one frame; of fewer bytes than wanted, perhaps of none and so not at all, when the disk is full."""
        at, now_ns, moved = self._size, time.time_ns(), 0
        try:
            if os.write(self.fd, FRAME.pack(MAGIC, stream, 0, 0, length, self._previous, now_ns, 0)) == FRAME.size:
                while moved < length:
                    moved += os.splice(pipe, self.fd, length - moved)
        except OSError as error:
            if error.errno not in _FULL:
                raise
        if moved == 0:
            os.ftruncate(self.fd, at)
            os.lseek(self.fd, at, os.SEEK_SET)
            return 0
        if moved < length:
            os.pwrite(self.fd, FRAME.pack(MAGIC, stream, 0, 0, moved, self._previous, now_ns, 0), at)
        self._size += FRAME.size + moved
        self._previous = moved
        return moved

    def close(self) -> None:
        """Close the current segment."""
        os.close(self.fd)


def _moved(pipe: int, target: int, wanted: int) -> int:
    """Splice what a pipe holds, at most ``wanted`` bytes; how many it were."""
    moved = 0
    try:
        left = min(wanted, available(pipe)) if pipe >= 0 else 0
        while moved < left:
            moved += os.splice(pipe, target, left - moved)
    except OSError as error:
        if error.errno not in _FULL:
            raise
    return moved


def _segment(path: str) -> BinaryIO:
    """An earlier segment, to read. What somebody else put in its place holds nothing, and goes in its turn."""
    try:
        return open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb")
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return open(os.devnull, "rb")


def count_lines(path: str) -> int:
    """How many line ends the frames of a segment hold."""
    lines = 0
    with _segment(path) as file:
        while header := file.read(FRAME.size):
            if len(header) < FRAME.size:
                break
            left = FRAME.unpack(header)[4]
            while left:
                data = file.read(min(left, 65536))
                if not data:
                    return lines
                lines += data.count(b"\n")
                left -= len(data)
    return lines


def available(pipe: int) -> int:
    """How many bytes a pipe holds; FIONREAD, ioctl_tty(2)."""
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))[0])


class Pump:
    """One stream of the container on its way into the log."""

    def __init__(self, log: Log, stream: int, pipe: int) -> None:
        self._log = log
        self._stream = stream
        self.pipe = pipe
        self._last_ns = 0
        self._grown = False

    def move(self) -> bool:
        """Take what the pipe holds; False when the disk is full, see `Log.append`. Small and frequent writes are
        gathered for half a millisecond first: it takes the shim from 90 % of a core to 16 % at full speed."""
        found = available(self.pipe)
        if found < PIPE_BYTES // 4 and time.monotonic_ns() - self._last_ns < _BUSY_NS:
            select.select((), (), (), _NAP_S)
            found = available(self.pipe)
        if found >= 32768 and not self._grown:
            self._grown = True
            try:
                fcntl.fcntl(self.pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            except PermissionError:  # this host's fs.pipe-max-size is lower: slower, and as right
                return self.move()
        taken = self._log.append(self._stream, self.pipe, found)
        self._last_ns = time.monotonic_ns()
        return taken

    def drain(self) -> int:
        """Take the rest, after the last writer has ended; how many bytes could not be, the disk being full."""
        while found := available(self.pipe):
            if not self._log.append(self._stream, self.pipe, found):
                return available(self.pipe)
        return 0
