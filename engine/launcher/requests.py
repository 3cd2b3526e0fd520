"""A launcher's child ahead of the next request: takes one connection, serves it, answers, and ends or is a shim."""

from __future__ import annotations

import importlib
import os
import select
import socket
import sys
from typing import Any, NoReturn

from engine.cgroups import manager
from engine.errors import EngineError, KernelError, Unsupported
from engine.linux import pidfds, process
from engine.shim import birth, protocol, starter
from engine.shim import main as shim

HESITATION_MS = 10  # between a connection and its first word: they come together
# What a request may ask for: (module, function) taking (request, fds) and returning the answer.
WORKERS = {
    "files": ("engine.files.worker", "serve"),
    "unpack": ("engine.archives.worker", "unpack"),
    "probe": ("engine.linux.probe", "answer"),
}


def serve(
    listener: socket.socket, report: int, launcher_pid: int, inherited: tuple[int, ...], run: str, instance: str
) -> NoReturn:
    """The launcher's child: takes one request; after a start it is the shim of that container."""
    status = 0
    try:
        process.set_name(b"wharfie-spare")
        for descriptor in inherited:
            os.close(descriptor)
        shim.run(lambda handover: _answer(listener, report, launcher_pid, handover), (listener.fileno(), report))
    except BaseException as error:
        print(f"wharfie launcher: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        status = 1
    try:
        # A launcher waits for those who end before it; one that takes its socket away may have looked already.
        if os.getppid() != launcher_pid or not os.path.exists(f"{run}/launcher.sock"):
            manager.leave_engine(instance, f"{run}/groups.lock")
    except OSError as error:
        print(f"wharfie launcher: {error}", file=sys.stderr, flush=True)
    os._exit(status)


def _answer(listener: socket.socket, report: int, launcher_pid: int, handover: socket.socket) -> None:
    """The starter: takes one connection, before it prepares anything when somebody waits already."""
    launcher = pidfds.of(launcher_pid)
    if process.parent(os.getppid()) != launcher_pid:
        return  # it was killed just now
    connection = _accept(listener, handover, launcher, 0)
    try:
        init = birth.prepared()
    except OSError:  # what is wrong is met again, and said, if the request is for a container
        init = None
    if connection is None:
        connection = _accept(listener, handover, launcher, None)
        if connection is None:
            return
    os.write(report, b"!")
    os.close(report)
    listener.close()
    connection.settimeout(30.0)
    message = protocol.receive(connection)
    if message is None:
        return
    request, fds = message
    try:
        protocol.send(connection, _work(request, fds, init, handover))
    except OSError as error:  # the caller was killed; a container that runs is on record, for whoever looks
        print(f"wharfie launcher: nobody waits for the answer any more: {error}", file=sys.stderr, flush=True)


def _accept(
    listener: socket.socket, handover: socket.socket, launcher: int, timeout_ms: int | None
) -> socket.socket | None:
    """The next connection; None when there is none in time, or when the shim or the launcher is dead or ends."""
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLIN | select.POLLRDHUP)
    poll.register(launcher, select.POLLIN)
    poll.register(handover.fileno(), 0)  # its POLLHUP is told without being asked for
    shut = 0
    while not shut:
        events = dict(poll.poll(timeout_ms))
        if list(events) != [listener.fileno()]:
            break
        shut = events[listener.fileno()] & select.POLLRDHUP  # by the launcher at its end: who came before is served
        try:
            while not _speaks(connection := listener.accept()[0]):
                connection.close()
            return connection
        except BlockingIOError:  # another one took it
            continue
    return None


def _speaks(connection: socket.socket) -> bool:
    """Whether anybody is there: who only looked whether a launcher lives has hung up, and needs no child of its own."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(HESITATION_MS) or bool(connection.recv(1, socket.MSG_PEEK))


def _work(request: dict[str, Any], fds: list[int], init: birth.Init | None, handover: socket.socket) -> dict[str, Any]:
    try:
        if request.get("version", 0) > protocol.VERSION:  # the files were replaced under a launcher that goes on
            raise Unsupported(
                f"the launcher is of an older Wharfie: it speaks protocol {protocol.VERSION}, not {request['version']}",
                hint="restart the console; containers run on meanwhile",
            )
        if request["op"] == "start":
            return {"result": starter.start(request, init, handover)}
        if request["op"] not in WORKERS:
            return {"error": {"class": "Unsupported", "message": f"unknown request {request['op']!r}"}}
        module, function = WORKERS[request["op"]]
        return {"result": getattr(importlib.import_module(module), function)(request, fds)}
    except EngineError as error:
        return {"error": error.to_wire()}
    except OSError as error:
        return {"error": KernelError.from_os(error, request["op"]).to_wire()}
