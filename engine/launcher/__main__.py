"""Started as ``python -I -S engine/launcher/__main__.py RUN INSTANCE idle|stay``; see `engine.launcher.start`.

Accepts a connection and gives it to a child, forked ahead when there was time; the child reads the request, serves it
and answers. So a request can neither block nor break the launcher. With IDLE it ends by itself when nobody needed it
for a while and no child is left.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import Any, NamedTuple

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from engine.cgroups import manager
from engine.errors import EngineError, KernelError
from engine.linux import process, unix
from engine.shim import main as shim
from engine.shim import protocol, starter

IDLE_S = 3.0
AT_REST_S = 0.02  # so long without a request, and there is time for a spare child
OOM_SCORE = -500
# What a request may ask for: (module, function) taking (request, fds) and returning the answer.
WORKERS = {"unpack": ("engine.archives.worker", "unpack"), "probe": ("engine.linux.probe", "answer")}


def main(run: str, instance: str, idle: bool) -> int:
    """Serve until SIGTERM; with ``idle`` go into the background first. 3 when another launcher serves this instance."""
    if idle and os.fork():
        os._exit(0)
    lock = os.open(f"{run}/launcher.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 3  # another launcher serves this instance
    process.set_name("wharfie-launch")
    process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
    process.protect_from_oom(OOM_SCORE)
    own_group = manager.group(instance, manager.ENGINE_GROUP)
    own_group.create(exist_ok=True)
    own_group.add(os.getpid())

    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write)

    path = f"{run}/launcher.sock"
    if os.path.lexists(path):
        os.unlink(path)  # the lock is ours, so its owner is dead
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    directory_fd = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener.bind(unix.address(directory_fd, "launcher.sock"))
    os.close(directory_fd)
    listener.listen(256)

    _rehearse(f"{run}/.rehearsal")
    gc.collect()
    gc.freeze()

    messages = os.open(f"{run}/launcher.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    inherited = (listener.fileno(), wake_read, wake_write, lock)
    spare: Spare | None = None
    spares_last = True  # until one dies unused; then the next request shows whether they do again
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    while not stopping:
        wants_spare = spare is None and spares_last
        ready = poll.poll(AT_REST_S * 1000 if wants_spare else IDLE_S * 1000 if idle else None)
        for descriptor, _ in ready:
            if descriptor == wake_read:
                os.read(wake_read, 4096)
                continue
            connection, _address = listener.accept()
            if spare is None or not spare.serve(connection):
                _fork(connection, None, inherited, messages)
            connection.close()
            spare, spares_last = None, True
        dead = _reap()
        if spare is not None and spare.pid in dead:
            spare, spares_last = None, False
        if not ready and wants_spare:
            spare = Spare.made(inherited, messages)
        elif not ready and process.children() == ([spare.pid] if spare else []):
            break

    if os.path.lexists(path):
        os.unlink(path)
    listener.close()
    if spare is not None:
        spare.door.close()
    for _ in range(50):  # shims whose container has just ended need a moment; those of running ones stay
        _reap()
        if not process.children():
            _leave_group(own_group, instance)
            break
        select.select((), (), (), 0.01)
    return 0


class Spare(NamedTuple):
    """A child forked ahead, with a container's first process prepared, so that a start need not wait for either."""

    pid: int
    door: socket.socket

    @classmethod
    def made(cls, inherited: tuple[int, ...], messages: int) -> Spare:
        """A new one, which waits at the other end of ``door``."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        pid = _fork(None, theirs, (*inherited, ours.fileno()), messages)
        theirs.close()
        return cls(pid, ours)

    def serve(self, connection: socket.socket) -> bool:
        """Give it a request's connection; False when it is dead."""
        try:
            socket.send_fds(self.door, [b"c"], [connection.fileno()])
        except ConnectionError:
            return False
        finally:
            self.door.close()
        return True


def _reap() -> list[int]:
    """The children that ended: shims, and the orphans of killed ones."""
    dead = []
    try:
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            dead.append(pid)
    except ChildProcessError:
        return dead
    return dead


def _rehearse(scratch: str) -> None:
    os.makedirs(scratch, 0o700, exist_ok=True)
    shim.rehearse(scratch)
    for name in os.listdir(scratch):
        os.unlink(f"{scratch}/{name}")
    os.rmdir(scratch)


def _leave_group(own_group: manager.Group, instance: str) -> None:
    """With no shim left nothing of the instance stays behind; with some, they live on in the group."""
    manager.leave(os.getpid())
    own_group.remove()
    manager.remove_instance(instance)


def _fork(
    connection: socket.socket | None, door: socket.socket | None, inherited: tuple[int, ...], messages: int
) -> int:
    """A child that serves one request: at ``connection``, or at the connection that comes through ``door``."""
    pid = os.fork()
    if pid:
        return pid
    status = 0
    try:
        # Nothing of the caller's terminal: a shim lives longer, and a pipe it held open would never end for its reader.
        null = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((null, 0), (messages, 1), (messages, 2)):
            os.dup2(source, target)
        os.close(null)
        os.close(messages)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a shim ends with its container, not before
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in inherited:
            os.close(descriptor)
        if door is not None:
            process.set_name("wharfie-spare")
        asked_at = connection or door
        assert asked_at is not None
        shim.run(lambda handover: _serve(connection, door, handover), asked_at)
    except BaseException as error:
        print(f"wharfie launcher: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        status = 1
    os._exit(status)


def _serve(connection: socket.socket | None, door: socket.socket | None, handover: socket.socket) -> None:
    try:
        init = starter.prepared()
    except OSError:  # what is wrong is met again, and said, if the request is for a container
        init = None
    if connection is None:
        assert door is not None
        _data, fds, _flags, _address = socket.recv_fds(door, 1, 1)
        door.close()
        if not fds:
            return  # the launcher has ended
        connection = socket.socket(fileno=fds[0])
    connection.settimeout(30.0)
    message = protocol.receive(connection)
    if message is None:
        return
    request, fds = message
    try:
        protocol.send(connection, _work(request, fds, init, handover))
    except OSError as error:  # the caller was killed; a container that runs is on record, for whoever looks
        print(f"wharfie launcher: nobody waits for the answer any more: {error}", file=sys.stderr, flush=True)


def _work(
    request: dict[str, Any], fds: list[int], init: starter.Init | None, handover: socket.socket
) -> dict[str, Any]:
    try:
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3] == "idle"))
