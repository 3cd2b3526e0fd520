"""Ask the launcher."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from engine.cgroups import room
from engine.config import Config
from engine.errors import BrokeOff, Late, Unavailable, from_wire
from engine.launcher import start
from engine.linux import pidfds, unix
from engine.shim import protocol

STARTUP_S = 10.0  # as long as one that is ending may take, and a new one needs
RESPAWN_S = 1.0
ANSWER_S = 60.0
UNREAD_S = 0.01  # before a request is sent again that nobody has read
T = TypeVar("T")


class LauncherClient:
    """Calls of one Engine to the launcher of its instance. Thread-safe: a connection a call."""

    def __init__(self, config: Config, instance: str, *, spawn: bool) -> None:
        self._config = config
        self._instance = instance
        self._spawn = spawn

    def call(
        self, op: str, request: dict[str, Any], fds: list[int] | None = None, *, timeout_s: float | None = ANSWER_S
    ) -> dict[str, Any]:
        """Make one request and return its answer.

        Raises the EngineError that the other side met, Unavailable, or Overloaded before anything is asked.
        """
        room.require(self._instance)
        message = request | {"op": op, "version": protocol.VERSION}
        until = math.inf
        while (answer := self._ask(message, fds, timeout_s)) is None:
            until = min(until, time.monotonic() + STARTUP_S)
            if time.monotonic() > until:
                raise Unavailable("the launcher reads no requests", hint="look at `doctor`, then try again")
            time.sleep(UNREAD_S)
        if "error" in answer:
            raise from_wire(answer["error"])
        result: dict[str, Any] = answer.get("result", answer)
        return result

    def _ask(self, message: dict[str, Any], fds: list[int] | None, timeout_s: float | None) -> dict[str, Any] | None:
        """The answer; None when nobody has read the whole request, so that nothing was begun.

        A connection that is reset tells that: the other end was closed before it had read everything. A killed launcher
        leaves such connections: the child that it had ahead has its socket, too, and ends a moment later.
        """
        with self._connect() as connection:
            connection.settimeout(timeout_s)
            try:
                protocol.send(connection, message, fds)
                answer = protocol.receive(connection)
            except TimeoutError as error:
                raise Late(
                    f"the launcher has not answered in {timeout_s:g} s",
                    hint="it may still do it: look again in a moment",
                ) from error
            except (ConnectionResetError, BrokenPipeError):
                return None
            except (OSError, EOFError) as error:
                raise BrokeOff(f"the launcher broke off: {error}", hint="look at `doctor`, then try again") from error
        if answer is None:
            raise BrokeOff("the launcher gave no answer", hint="look at its messages, then try again")
        return answer[0]

    def ensure(self) -> None:
        """Have one running, if this client may start one, or have tried for `STARTUP_S`: what needs one then says so.

        That somebody listens tells nothing, nor that the lock is held: a killed one's child does both a moment longer.
        """
        if self._spawn:
            self._patiently(self._lives)

    def _lives(self) -> bool:
        """Whether the process that made the socket goes on."""
        connection = self._try()
        if connection is None:
            return False
        with connection:
            try:
                pidfd = pidfds.of(unix.peer(connection))
            except ProcessLookupError:
                return False
        try:
            return not pidfds.ended(pidfd)
        finally:
            os.close(pidfd)

    def _connect(self) -> socket.socket:
        connection = self._patiently(self._try)
        if connection is None:
            raise Unavailable(
                "the launcher does not answer",
                hint="start the console, or look at `wharfie doctor`",
            )
        return connection

    def _patiently(self, reach: Callable[[], T]) -> T:
        """What ``reach`` finds: something, or after `STARTUP_S` nothing.

        Meanwhile a launcher is started, if this client may do so, and again: one that is just ending keeps others away.
        """
        deadline = time.monotonic() + STARTUP_S
        spawn_s = 0.0
        pause_s = 0.002
        while not (found := reach()) and time.monotonic() < deadline:
            if self._spawn and time.monotonic() > spawn_s:
                start.spawn(self._config)
                spawn_s = time.monotonic() + RESPAWN_S
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.1)
        return found

    def _try(self) -> socket.socket | None:
        try:
            return unix.connect(f"{self._config.run}/launcher.sock")
        except (FileNotFoundError, ConnectionRefusedError):
            return None
