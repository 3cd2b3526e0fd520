"""The host's end of a container's terminal: one program, any number of people in front of it.

Served by a process of its own, which keeps the last of what was shown, so that whoever comes back sees it. A client
that does not read is left behind, never waited for: neither the program nor the others notice. A log that takes nothing
more, since its disk is full, the program waits for, as one without a terminal does; who sits here can still type.

After the first message (`protocol`), both directions are frames: kind, length, payload.

    DATA     bytes, to the program or from it
    RESIZE   rows and columns, to the terminal
    EXIT     how it ended, JSON: the last
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import time
from collections import deque
from typing import Any

from engine.linux import files, tty
from engine.shim import protocol

HEADER = struct.Struct("<BI")
SIZE = struct.Struct("<HH")
DATA, RESIZE, EXIT = 0, 1, 2
SCROLLBACK_BYTES = 2**20
CHUNK_BYTES = 2**12
LAST_S = 30.0  # for its log to take what it showed at last: a killed shim's next one does, on a full disk nobody
# Who is further behind is dropped; it may come back, and sees the scrollback.
BEHIND_BYTES = 2 * SCROLLBACK_BYTES
INPUT_BYTES = 2**16  # not yet taken by the program: then clients are not read
MAX_FRAME_BYTES = 2**16
FAREWELL_S = 2.0


def frame(kind: int, payload: bytes) -> bytes:
    """One frame."""
    return HEADER.pack(kind, len(payload)) + payload


class Client:
    """One connection: what has come and is not a whole frame yet, and what it has not taken yet."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.greeted = False


class Terminal:
    """Serves until the program has ended."""

    def __init__(self, master: int, pidfd: int, listener: socket.socket, about: dict[str, Any], copy: int = -1) -> None:
        """``about`` is told to who asks for it; ``copy`` is a pipe that gets all output too, or -1."""
        for descriptor in (master, copy):
            if descriptor >= 0:
                os.set_blocking(descriptor, False)
        self._master = master
        self._pidfd = pidfd
        self._listener = listener
        self._about = about
        self._copy = copy
        self._uncopied = bytearray()  # nothing more is read while there is some
        self._scrollback: deque[bytes] = deque()
        self._scrollback_bytes = 0
        self._clients: dict[int, Client] = {}
        self._input = bytearray()

    def add(self, connection: socket.socket) -> None:
        """A client that is to see everything from now on, and what was shown before."""
        client = Client(connection)
        client.greeted = True
        self._show_past(client)
        self._clients[connection.fileno()] = client

    def serve(self) -> None:
        """Until the program has ended and its last output is read. What comes after, `farewell` does."""
        ended, until = False, 0.0
        while not ended or (self._uncopied and time.monotonic() < until):
            poll = select.poll()
            poll.register(self._listener.fileno(), select.POLLIN)
            if not ended:
                poll.register(self._pidfd, select.POLLIN)
            if self._uncopied:
                poll.register(self._copy, select.POLLOUT)
            if self._master >= 0 and not (self._uncopied and not self._input):
                reading = 0 if self._uncopied else select.POLLIN
                poll.register(self._master, reading | (select.POLLOUT if self._input else 0))
            listening = select.POLLIN if len(self._input) < INPUT_BYTES else 0
            for descriptor, client in self._clients.items():
                poll.register(descriptor, listening | (select.POLLOUT if client.outgoing else 0))
            for descriptor, event in poll.poll(LAST_S * 1000 if ended else None):
                if descriptor == self._master:
                    self._exchange(event)
                elif descriptor == self._listener.fileno():
                    connection, _address = self._listener.accept()
                    self._clients[connection.fileno()] = Client(connection)
                elif descriptor == self._copy:
                    self._copy_on()
                elif descriptor == self._pidfd:
                    ended, until = True, time.monotonic() + LAST_S
                    while self._master >= 0 and self._read():  # no more than the kernel holds for a terminal
                        continue
                elif descriptor in self._clients:
                    self._attend(self._clients[descriptor], event)

    def farewell(self, ended: dict[str, Any]) -> None:
        """Tell all how it ended, and give them a moment to read it."""
        self._broadcast(frame(EXIT, json.dumps(ended).encode()))
        until = time.monotonic() + FAREWELL_S
        while (left := [each for each in self._clients.values() if each.outgoing]) and time.monotonic() < until:
            _, writable, _ = select.select((), [client.connection for client in left], (), FAREWELL_S)
            for client in left:
                if client.connection in writable:
                    self._flush(client)
        for client in list(self._clients.values()):
            self._drop(client)

    def _exchange(self, event: int) -> None:
        if event & select.POLLOUT and self._input:
            try:
                del self._input[: os.write(self._master, self._input)]
            except BlockingIOError:  # it has taken enough for now
                pass
            except OSError:  # EIO: nobody is there any more who could read it
                self._input.clear()
        if event & (select.POLLIN | select.POLLHUP) and not self._uncopied:
            self._read()

    def _read(self) -> bool:
        """Take some output; False when there is none now."""
        try:
            data = os.read(self._master, 65536)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last process has closed its end
            data = b""
        if not data:
            os.close(self._master)
            self._master = -1
            return False
        if self._copy >= 0:
            self._uncopied += data
            self._copy_on()
        if self._scrollback and len(self._scrollback[-1]) + len(data) <= CHUNK_BYTES:  # else a byte may cost a hundred
            self._scrollback[-1] += data
        else:
            self._scrollback.append(data)
        self._scrollback_bytes += len(data)
        while self._scrollback_bytes - len(self._scrollback[0]) >= SCROLLBACK_BYTES:
            self._scrollback_bytes -= len(self._scrollback.popleft())
        self._broadcast(frame(DATA, data))
        return True

    def _copy_on(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is full
            while self._uncopied:
                del self._uncopied[: os.write(self._copy, self._uncopied)]

    def _broadcast(self, data: bytes) -> None:
        for client in list(self._clients.values()):
            if client.greeted:
                client.outgoing += data
                self._flush(client)

    def _show_past(self, client: Client) -> None:
        for data in self._scrollback:
            client.outgoing += frame(DATA, data)

    def _attend(self, client: Client, event: int) -> None:
        if event & select.POLLOUT:
            self._flush(client)
        if event & (select.POLLIN | select.POLLHUP | select.POLLERR) and client.connection.fileno() in self._clients:
            try:
                data = client.connection.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._drop(client)
                return
            client.incoming += data
            try:
                self._understand(client)
            except protocol.NONSENSE:
                self._drop(client)

    def _understand(self, client: Client) -> None:
        """Act on what has come in whole."""
        if not client.greeted:
            message = protocol.whole(client.incoming)
            if message is None:
                return
            client.greeted = True
            if message.get("op") == "lend" and self._copy >= 0:  # to a new shim, whose keeper was killed too
                protocol.send(client.connection, self._about, [self._master, self._copy])
                return
            client.outgoing += protocol.encode(self._about)
            if message.get("op") == "attach":
                self._show_past(client)
            elif message.get("op") == "end":
                self._end()
            self._flush(client)
        while len(client.incoming) >= HEADER.size:
            kind, length = HEADER.unpack_from(client.incoming)
            if length > MAX_FRAME_BYTES:
                self._drop(client)
                return
            if len(client.incoming) < HEADER.size + length:
                return
            payload = bytes(client.incoming[HEADER.size : HEADER.size + length])
            del client.incoming[: HEADER.size + length]
            if kind == DATA:
                self._input += payload
            elif kind == RESIZE and length == SIZE.size:
                self._resize(*SIZE.unpack(payload))

    def _end(self) -> None:
        """Hang up, as when a modem's line is lost: SIGHUP to who is in front. What ignores that is killed next time."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        else:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _resize(self, rows: int, columns: int) -> None:
        """0 is no size. Told its own size again, the program redraws: somebody came back and sees half a screen."""
        if self._master < 0 or not rows or not columns:
            return
        if tty.size(self._master) == (rows, columns):
            tty.resize(self._master, rows, columns + 1)
        tty.resize(self._master, rows, columns)

    def _flush(self, client: Client) -> None:
        try:
            while client.outgoing:
                del client.outgoing[: client.connection.send(client.outgoing[:65536])]
        except BlockingIOError:
            if len(client.outgoing) > BEHIND_BYTES:
                self._drop(client)
        except OSError:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        self._clients.pop(client.connection.fileno(), None)
        client.connection.close()


def attend_first(facts: dict[str, Any], master: int, pidfd: int, desk: int, copy: int) -> None:
    """Serve the terminal of a container's first process, in a process of its own, and copy what it shows into its log.

    How it ended is for the shim to find out, and for the caller to ask.
    """
    request = facts["request"]
    argv = json.loads(files.content(request["request"]))["argv"]
    about = {
        "pid": facts["pid"], "argv": argv, "user": request["user"], "started_at_ns": facts["started_at_ns"],
        "server": os.getpid(),
    }  # fmt: skip
    terminal = Terminal(master, pidfd, socket.socket(fileno=desk), about, copy)
    terminal.serve()
    os.close(copy)
    terminal.farewell({})
