"""The network between a browser and a console, which can die without a word: nothing is closed and nothing comes."""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import Self


class Wire:
    """Forwards connections to a port of this host, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._lost: list[socket.socket] = []
        self._dead = False
        self._over = False
        self._asked, self._ask = os.pipe()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._wake()
        self._thread.join()
        for each in (self._listener, *self._peers, *self._lost):
            each.close()
        os.close(self._asked)
        os.close(self._ask)

    def cut(self) -> None:
        """From now on nothing gets through, in connections that are there for good."""
        with self._lock:
            self._dead = True
            self._lost += self._peers
            self._peers.clear()
        self._wake()

    def mend(self) -> None:
        """New connections work; as with a router that has forgotten, the old ones do not."""
        self._dead = False
        self._wake()

    def _wake(self) -> None:
        os.write(self._ask, b"x")

    def _run(self) -> None:
        while not self._over:
            with self._lock:
                watched = [self._asked, *self._peers, *([] if self._dead else [self._listener])]
            for found in select.select(watched, (), ())[0]:
                if found == self._asked:
                    os.read(self._asked, 64)
                    continue
                with self._lock:
                    if found is self._listener and not self._dead:
                        near, far = self._listener.accept()[0], socket.create_connection(("127.0.0.1", self._port))
                        self._peers |= {near: far, far: near}
                    elif found in self._peers:
                        self._forward(found, self._peers[found])

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            data = source.recv(65536)
            if data:
                target.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (source, target):
                del self._peers[end]
                end.close()
