"""The websocket of a terminal on a page.

page: bytes                          typed          server: bytes               shown
page: {"rows": n, "columns": n}      its size       server: {"exit": code}      it has ended; null when nobody saw how
page: {"drawn": n}                   n bytes more are on the screen
                                     server: {"beat": 1}            it is there, now and then
"""

from __future__ import annotations

import asyncio
import contextlib
import json

from autobahn.exception import Disconnected

from console import gateway
from console.door import SignedInConsumer
from engine import Terminal, errors


class TerminalConsumer(SignedInConsumer):
    """One page in front of one terminal. The program goes on when the page leaves."""

    GONE = 4404
    MOST_UNDRAWN_BYTES = 2**19  # then nothing more is sent until the page has drawn some of it
    MOST_TYPED_BYTES = 2**16  # in one message
    BEAT_S = 5.0  # a page that hears nothing for three of them connects again: a network that went away closes nothing

    _terminal: Terminal | None = None
    _reading = False
    _undrawn = 0

    async def admitted(self) -> None:
        """Attach, and show what was shown before."""
        where = self.scope["url_route"]["kwargs"]
        try:
            self._terminal = await asyncio.to_thread(
                gateway.engine().attach,
                where["container"],
                where["session"],
                caller=gateway.caller(self.scope["user"]),
            )
        except errors.EngineError as error:
            await self.accept()  # a refused handshake has no code that a page could read
            codes = {403: self.REFUSED, 404: self.GONE, 409: self.GONE}
            await self.close(code=codes.get(gateway.status_of(error), self.BROKEN))
            return
        self._terminal.without_blocking()
        await self.accept()
        self._typed = asyncio.Queue[bytes | tuple[int, int]](maxsize=64)
        self._shown = asyncio.Queue[bytes]()  # bounded by MOST_UNDRAWN_BYTES
        self._tasks = [asyncio.create_task(each()) for each in (self._type, self._show, self._beat)]
        self._read_on()

    async def left(self) -> None:
        """Leave the terminal."""
        if self._terminal is None:
            return
        self._stop_reading()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._terminal.close()
        self._terminal = None

    async def heard(self, text: str | None, data: bytes | None) -> None:
        """Something typed, or a word about the page."""
        if self._terminal is None:
            return
        if data is not None:
            if len(data) > self.MOST_TYPED_BYTES:
                raise ValueError("too much at once")
            await self._typed.put(data)
            return
        message = json.loads(text or "")
        if "drawn" in message:
            self._undrawn = max(0, self._undrawn - int(message["drawn"]))
            self._read_on()
        else:
            await self._typed.put((int(message["rows"]), int(message["columns"])))

    async def _type(self) -> None:
        """Pass on what was typed; the program may not take it, and then only this waits, and no thread."""
        while self._terminal is not None:
            what = await self._typed.get()
            with contextlib.suppress(errors.Unavailable):  # it has ended, which the reader tells
                await self._terminal.send(what)

    async def _beat(self) -> None:
        """Whatever else waits for whom: the page waits for this."""
        with contextlib.suppress(Disconnected):
            while True:
                await asyncio.sleep(self.BEAT_S)
                await self.send(text_data='{"beat": 1}')

    def _read_on(self) -> None:
        if self._terminal is not None and not self._reading and self._undrawn < self.MOST_UNDRAWN_BYTES:
            self._reading = True
            asyncio.get_running_loop().add_reader(self._terminal.fileno(), self._readable)

    def _stop_reading(self) -> None:
        if self._reading and self._terminal is not None:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._terminal.fileno())

    def _readable(self) -> None:
        """Called by the loop: takes what is there, and has it sent."""
        if self._terminal is None:
            return
        shown = self._terminal.take()
        self._undrawn += len(shown)
        if self._terminal.closed or self._undrawn >= self.MOST_UNDRAWN_BYTES:
            self._stop_reading()
        if shown:
            self._shown.put_nowait(shown)
        if self._terminal.closed:
            self._shown.put_nowait(b"")

    async def _show(self) -> None:
        """Send what is shown, in order, and at its end how it ended."""
        with contextlib.suppress(Disconnected):  # the browser went first; `disconnect` is on its way
            while shown := await self._shown.get():
                await self.send(bytes_data=shown)
            if self._terminal is not None:
                await self.send(text_data=json.dumps({"exit": self._terminal.exit_code}))
