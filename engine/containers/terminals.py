"""The caller's end of a container's terminal."""

from __future__ import annotations

import asyncio
import json
import socket

from engine.containers.spec import TerminalInfo
from engine.errors import Unavailable
from engine.shim import terminal


class Terminal:
    """One person in front of a container's terminal. Who does not read is dropped; see `engine.shim.terminal`."""

    def __init__(self, connection: socket.socket, info: TerminalInfo) -> None:
        self.info = info
        self.exit_code: int | None = None  # once it has ended and somebody saw that
        self.closed = False
        self._connection = connection
        self._incoming = bytearray()

    def fileno(self) -> int:
        """Readable when `read` has something to give."""
        return self._connection.fileno()

    def write(self, data: bytes) -> None:
        """Type ``data``. Blocks while the program takes none; Unavailable when it has ended."""
        self._send(_typed(data))

    def resize(self, rows: int, columns: int) -> None:
        """Tell the program how large the terminal is now; 1 to 65535 each, else nothing happens."""
        self._send(_sized(rows, columns))

    def _send(self, frames: bytes) -> None:
        try:
            self._connection.sendall(frames)
        except OSError as error:
            raise _closed() from error

    def without_blocking(self) -> None:
        """For who serves many on one event loop: from now on it is read with `take` and written to with `send`."""
        self._connection.setblocking(False)

    async def send(self, what: bytes | tuple[int, int]) -> None:
        """As `write`, or as `resize` for (rows, columns); on the event loop, without a thread of its own."""
        frames = _typed(what) if isinstance(what, bytes) else _sized(*what)
        try:
            await asyncio.get_running_loop().sock_sendall(self._connection, frames)
        except OSError as error:
            raise _closed() from error

    def read(self) -> bytes:
        """What was shown since the last call; blocks until there is some. b"" at the end: then `exit_code` is set,
        unless the terminal was taken away because this side did not read."""
        while not (shown := self.take()) and not self.closed:
            continue
        return shown

    def take(self) -> bytes:
        """As `read`, but reads once: it may give nothing yet. For who waits until `fileno` is readable."""
        if not self.closed:
            try:
                data = self._connection.recv(65536)
            except BlockingIOError:
                return b""
            except ConnectionError:
                data = b""
            self.closed = not data
            self._incoming += data
        return self._frames()

    def _frames(self) -> bytes:
        shown = bytearray()
        while len(self._incoming) >= terminal.HEADER.size:
            kind, length = terminal.HEADER.unpack_from(self._incoming)
            end = terminal.HEADER.size + length
            if len(self._incoming) < end:
                break
            payload = self._incoming[terminal.HEADER.size : end]
            if kind == terminal.DATA:
                shown += payload
            elif kind == terminal.EXIT:
                self.exit_code = json.loads(payload).get("code")
                self.closed = True
            del self._incoming[:end]
        return bytes(shown)

    def close(self) -> None:
        """Leave; the program goes on, and its terminal can be attached to again."""
        self._connection.close()


def _typed(data: bytes) -> bytes:
    most = terminal.MAX_FRAME_BYTES
    return b"".join(terminal.frame(terminal.DATA, data[at : at + most]) for at in range(0, len(data), most))


def _sized(rows: int, columns: int) -> bytes:
    if 0 < rows < 65536 and 0 < columns < 65536:
        return terminal.frame(terminal.RESIZE, terminal.SIZE.pack(rows, columns))
    return b""


def _closed() -> Unavailable:
    return Unavailable("the terminal is closed", hint="open another one")
