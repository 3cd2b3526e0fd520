"""Run further commands in a running container, and come back to their terminals."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from engine import policy
from engine.cgroups import room
from engine.containers import roots, shims, state
from engine.containers.pipes import Execution
from engine.containers.records import Records
from engine.containers.spec import TOOLBOX_PLACE, Container, ExecSpec, TerminalInfo
from engine.containers.terminals import Terminal
from engine.errors import Denied, Late, NotFound, Unavailable, WrongState
from engine.images.spec import STARTER, Image
from engine.linux import files
from engine.names import new_id
from engine.security.confinement import confinement
from engine.security.spec import ROOT, Caller
from engine.shim import protocol
from engine.storage.paths import Paths

ANSWER_S = 30.0
SESSION_DIGITS = 12
_SESSION = re.compile(r"[0-9a-f]{12}")


class Executions:
    """Opens sessions, and finds those that are open."""

    def __init__(self, instance: str, paths: Paths, image: Callable[[str], Image], records: Records) -> None:
        self._instance = instance
        self._paths = paths
        self._records = records
        self._image = image

    def run(self, container: Container, spec: ExecSpec, caller: Caller) -> Execution:
        """Run a command with pipes. Its errors are those of a start: 127, 126, 125."""
        connection, answer, descriptors = self._open(container, spec, caller, tty=False, session="")
        return Execution(connection, answer["pid"], descriptors)

    def terminal(self, container: Container, spec: ExecSpec, caller: Caller) -> Terminal:
        """Run a command in a terminal of its own, and sit down in front of it."""
        session = new_id()[:SESSION_DIGITS]
        with files.locked(str(self._paths.terminals_lock)):
            self._require_room(caller)
            connection, answer, _ = self._open(container, spec, caller, tty=True, session=session)
        return Terminal(connection, _info(session, answer))

    def _require_room(self, caller: Caller) -> None:
        """Busy when too many are open. Asks each only when somebody could have too many."""
        if not caller.name:
            return
        owners = [path.name.partition(".")[0] for path in self._paths.shims.glob("*.*.sock")]
        if len(owners) < policy.MAX_TERMINALS_OF_ONE:  # so nobody has more
            return
        found = [
            (container.name, info.by)
            for container in self._records.several(sorted(set(owners)))
            for info in self.open_terminals(container, ROOT)
            if info.session != first_session(container)
        ]
        policy.check_terminals(found, caller)

    def attach(self, container: Container, session: str, caller: Caller) -> Terminal:
        """Sit down in front of an open terminal: first comes what it showed before, 1 MiB at most."""
        policy.enter(container.spec, caller)
        session = session or first_session(container)
        self._judge(container, session, caller)
        connection, answer = self._greet(container, session, "attach")
        return Terminal(connection, _info(session, answer))

    def _judge(self, container: Container, session: str, caller: Caller) -> None:
        """Denied when its program has more than a member gets; what it showed is not asked for before that."""
        connection, answer = self._greet(container, session, "about")
        connection.close()
        policy.enter_terminal(caller, privileged=answer.get("privileged", False))

    def end(self, container: Container, session: str, caller: Caller) -> None:
        """Hang up an open terminal; a program that ignored that before is killed."""
        policy.enter(container.spec, caller)
        if session == first_session(container):
            raise WrongState(
                "this is the terminal of the container's first process", hint="stop the container", subject=session
            )
        self._judge(container, session, caller)
        connection, _ = self._greet(container, session, "end")
        connection.close()

    def input(self, container: Container, caller: Caller) -> int:
        """A descriptor to type into its first process with; WrongState when it takes no input."""
        policy.enter(container.spec, caller)
        if container.spec.tty or not (container.spec.stdin or container.spec.stdin_once):
            raise WrongState(f"nobody can type to container {container.name!r}", hint="create one with -i")
        state.require("exec", container.state, container.name)
        connection, _answer, (descriptor,) = self._asked(container, {"op": "input"})
        connection.close()
        return descriptor

    def open_terminals(self, container: Container, caller: Caller) -> list[TerminalInfo]:
        """The terminals whose programs run, the oldest first; of those only that ``caller`` may sit down at."""
        policy.enter(container.spec, caller)
        found = []
        for path in self._paths.shims.glob(f"{container.id}.*.sock"):
            session = path.name.split(".")[1]
            try:
                connection, answer = self._greet(container, session, "about")
            except (NotFound, Late):  # it has just ended, or is stuck
                continue
            connection.close()
            with suppress(Denied):
                policy.enter_terminal(caller, privileged=answer.get("privileged", False))
                found.append(_info(session, answer))
        return sorted(found, key=lambda info: info.started_at_ns)

    def _open(
        self, container: Container, spec: ExecSpec, caller: Caller, *, tty: bool, session: str
    ) -> tuple[socket.socket, dict[str, Any], list[int]]:
        policy.check_exec(spec, container.spec, caller)
        state.require("exec", container.state, container.name)
        room.require(self._instance)
        confined = confinement(container.spec.security, privileged=spec.privileged)
        terminal = ["TERM=xterm-256color"] if tty else []
        request = {
            "op": "exec",
            "id": container.id,
            "argv": list(spec.command),
            "env": [*container.spec.env, *terminal, *spec.env],
            "user": container.spec.user or "" if spec.user is None else spec.user,
            "workdir": spec.workdir or container.spec.workdir,
            "hostname": container.spec.hostname,
            "privileged": spec.privileged,
            "confinement": confined,
            "tty": tty,
            "pidfd": True,
            "stdin": spec.stdin,
            "output": spec.output,
            "by": caller.name,
            "rows": spec.rows,
            "columns": spec.columns,
            "socket": str(self._paths.terminal_socket(container.id, session)),
        }
        if spec.toolbox:
            request |= self._toolbox(container, spec, confined, terminal)
        connection, answer, descriptors = self._asked(container, request)
        connection.settimeout(None)
        return connection, answer, descriptors

    def _toolbox(
        self, container: Container, spec: ExecSpec, confined: dict[str, Any], terminal: list[str]
    ) -> dict[str, Any]:
        """What of a request is another one there. The container's own environment would mislead the toolbox's programs,
        and names of its users and groups are not in the toolbox's tables."""
        try:
            image = self._image(STARTER)
        except NotFound as error:
            raise NotFound(
                f"the toolbox is the image {STARTER}, which is not here",
                hint="make it: `images starter` on the command line, or the page of images",
                field="toolbox",
                subject=STARTER,
            ) from error
        return {
            "op": "toolbox",
            "env": [*image.config.env, *terminal, *spec.env],
            "user": spec.user or "",
            "workdir": spec.workdir or TOOLBOX_PLACE,
            "confinement": confined | {"groups": []},
            "layers": roots.layers(self._paths, image),
            "container": TOOLBOX_PLACE,
            "place": str(self._paths.rootfs),
            "shm_bytes": container.spec.security.shm_bytes,
        }

    def _asked(self, container: Container, request: dict[str, Any]) -> tuple[socket.socket, dict[str, Any], list[int]]:
        """The shim's answer with its descriptors, and the connection, which goes on."""
        shims.understood(self._paths, container.id)
        connection = shims.connect(self._paths.shim_socket(container.id), ANSWER_S)
        if connection is None:
            raise Unavailable(
                f"nobody answers for container {container.name!r}",
                hint="its shim was killed, and is replaced while a launcher is there: try again in a moment",
            )
        try:
            protocol.send(connection, request)
            answer = protocol.receive(connection)
            if answer is None:
                raise Unavailable("the container has just ended", hint="start it again")
            shims.answered(self._paths, container.id, request["op"], answer[0])
        except (OSError, EOFError) as error:
            connection.close()
            raise Unavailable("the container gave no answer", hint="it may have just ended") from error
        except BaseException:
            connection.close()
            raise
        return connection, *answer

    def _greet(self, container: Container, session: str, op: str) -> tuple[socket.socket, dict[str, Any]]:
        shims.understood(self._paths, container.id)
        path = self._paths.terminal_socket(container.id, session)
        connection = shims.connect(path, ANSWER_S) if _SESSION.fullmatch(session) else None
        try:
            if connection is not None:
                protocol.send(connection, {"op": op})
                answer = protocol.receive(connection)
                if answer is not None:
                    connection.settimeout(None)
                    return connection, answer[0]
                connection.close()
        except (OSError, EOFError) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, TimeoutError):
                raise Late(f"the terminal has not answered in {ANSWER_S:g} s", hint="try again in a moment") from error
        raise NotFound(
            f"container {container.name!r} has no open terminal {session!r}", hint="open a new one", subject=session
        )


def first_session(container: Container) -> str:
    """The id of the terminal that a container's first process has."""
    return container.id[:SESSION_DIGITS]


def _info(session: str, about: dict[str, Any]) -> TerminalInfo:
    return TerminalInfo(
        session,
        tuple(about["argv"]),
        about["user"],
        about["started_at_ns"],
        about["pid"],
        about.get("toolbox", False),
        about.get("by", ""),
    )
