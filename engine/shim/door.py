"""The control socket of a shim: who asks, and who waits for the end. The messages: `engine.shim.protocol`."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from typing import Any

from engine.errors import EngineError
from engine.shim import protocol

ANSWER_S = 5.0
# Gets the message and the client; False when somebody else answers it from now on.
Operation = Callable[[dict[str, Any], socket.socket], bool]


class Door:
    """Answers on the shim's own poll object, so that nothing wakes it while nothing happens."""

    def __init__(self, listener: int, poll: select.poll, operations: Callable[[str], Operation | None]) -> None:
        self.listener = listener
        self._poll = poll
        self._operations = operations
        self._clients: dict[int, socket.socket] = {}
        self._waiting: list[int] = []
        poll.register(listener, select.POLLIN)

    def attend(self, descriptor: int) -> None:
        """To a newcomer or a client; a descriptor that is neither is none of its business."""
        if descriptor == self.listener:
            with socket.socket(fileno=os.dup(self.listener)) as listener:
                client, _address = listener.accept()
            client.settimeout(ANSWER_S)
            self._clients[client.fileno()] = client
            self._poll.register(client.fileno(), select.POLLIN)
        elif descriptor in self._clients and not self._serve(self._clients[descriptor]):
            self._poll.unregister(descriptor)
            self._waiting = [waiting for waiting in self._waiting if waiting != descriptor]
            self._clients.pop(descriptor).close()

    def _serve(self, client: socket.socket) -> bool:
        """Answer one message; False when the client is done."""
        try:
            message = protocol.receive(client)
            if message is None:
                return False
            request = message[0]
            if request.get("op") == "wait":
                self._waiting.append(client.fileno())
                return True
            operation = self._operations(str(request.get("op")))
            if operation is not None:
                return operation(request, client)
            told = {"class": "Unsupported", "message": f"unknown request {request.get('op')!r}"}
        except EngineError as error:
            told = error.to_wire()
        except protocol.NONSENSE:
            return False
        try:
            protocol.send(client, {"error": told})
        except OSError:
            return False
        return True

    def close(self, ended: dict[str, Any]) -> None:
        """Tell who waits how it ended, and let nobody in any more: who came too late looks at the record."""
        os.close(self.listener)
        for descriptor in self._waiting:
            if descriptor in self._clients:
                try:
                    protocol.send(self._clients[descriptor], {"exit": ended})
                except OSError:  # it left; the record is there for whoever looks
                    continue
