"""A further command with pipes, which the shim itself sees to: it costs one fork, and nobody waits for anybody.

One with a terminal or in a toolbox has a process that serves it (`engine.shim.session.run`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Any

from engine.cgroups import manager
from engine.errors import EngineError, KernelError
from engine.shim import protocol
from engine.shim.session import Joining


class Errand:
    """From its birth until its caller knows how it ended. A caller that leaves ends nothing."""

    def __init__(
        self, request: dict[str, Any], client: socket.socket, init_pidfd: int, uid_base: int, group: manager.Group
    ) -> None:
        """EngineError: it could not be born. ``client`` stays the caller's; what is told later goes to a copy."""
        self._client = client.dup()
        try:
            self._joining = Joining(request, init_pidfd, uid_base, group)
        except OSError as error:
            self._client.close()
            raise KernelError.from_os(error, "joining the container") from error
        except EngineError:
            self._client.close()
            raise
        self.pid = self._joining.pid
        self.pidfd = self._joining.pidfd
        self.door = self._joining.door.fileno()  # readable when there is something to `attend` to
        self._pidfd_too = bool(request.get("pidfd"))  # an older engine does not ask
        self.runs = False  # it has executed its command, or never will

    def attend(self) -> None:
        """Take the next message of its process; `runs` when it was the last."""
        try:
            if not self._joining.step():
                return
            self._tell({"pid": self.pid}, [*self._joining.held, *([self.pidfd] if self._pidfd_too else [])])
        except (EngineError, OSError, EOFError) as error:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            wrong = error if isinstance(error, EngineError) else KernelError(f"joining the container: {error}")
            self._tell({"error": wrong.to_wire()})
            self._client.close()
        self.runs = True
        self._joining.close()
        for descriptor in self._joining.held:
            os.close(descriptor)

    def ended(self, status: int) -> None:
        """It runs no more, and was reaped with this wait status."""
        if self._client.fileno() >= 0:
            self._tell({"exit": protocol.exited(status)})
            self._client.close()

    def _tell(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        try:
            protocol.send(self._client, message, descriptors)
        except OSError:  # it left, and nobody else can come for this
            self._client.close()
