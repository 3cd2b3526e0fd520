"""Started as ``python -I -S engine/launcher/__main__.py RUN INSTANCE idle|stay``; see `engine.launcher.start`.

Accepts a connection and forks; the child reads the request, serves it and answers. So a request can neither block
nor break the launcher. With IDLE it ends by itself when nobody needed it for a while and no child is left.
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
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from engine.cgroups import manager
from engine.errors import EngineError, KernelError
from engine.linux import process, unix
from engine.shim import main as shim
from engine.shim import protocol

IDLE_S = 3.0
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
    own_group.create({})
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
    children = False
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    while not stopping:
        ready = poll.poll(IDLE_S * 1000 if idle and not children else None)
        if not ready and not children:
            break
        for descriptor, _ in ready:
            if descriptor == wake_read:
                os.read(wake_read, 4096)
            else:
                connection, _address = listener.accept()
                if os.fork() == 0:
                    _child(connection, (listener.fileno(), wake_read, wake_write, lock), messages)
                connection.close()
        children = _reap()
    if os.path.lexists(path):
        os.unlink(path)
    listener.close()
    for _ in range(50):  # shims whose container has just ended need a moment; those of running ones stay
        if not (children := _reap()):
            break
        select.select((), (), (), 0.01)
    _leave_group(own_group, instance, children)
    return 0


def _reap() -> bool:
    """Take the exit status of those that ended; whether any child is left: a shim, or the orphan of a killed one."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _rehearse(scratch: str) -> None:
    os.makedirs(scratch, 0o700, exist_ok=True)
    shim.rehearse(scratch)
    for name in os.listdir(scratch):
        os.unlink(f"{scratch}/{name}")
    os.rmdir(scratch)


def _leave_group(own_group: manager.Group, instance: str, children: bool) -> None:
    """With no shim left nothing of the instance stays behind; with some, they live on in the group."""
    if children:
        return
    manager.leave(os.getpid())
    own_group.remove()
    manager.remove_instance(instance)


def _child(connection: socket.socket, inherited: tuple[int, ...], messages: int) -> None:
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
        connection.settimeout(30.0)
        message = protocol.receive(connection)
        if message is None:
            os._exit(0)
        request, fds = message
        if request["op"] == "start":
            process.protect_from_oom(shim.SHIM_OOM_SCORE)
            shim.run(request, connection)
        else:
            protocol.send(connection, _work(request, fds))
    except BaseException as error:
        print(f"wharfie launcher: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        status = 1
    os._exit(status)


def _work(request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    if request["op"] not in WORKERS:
        return {"error": {"class": "Unsupported", "message": f"unknown request {request['op']!r}"}}
    module, function = WORKERS[request["op"]]
    try:
        result: dict[str, Any] = getattr(importlib.import_module(module), function)(request, fds)
        return {"result": result}
    except EngineError as error:
        return {"error": error.to_wire()}
    except OSError as error:
        return {"error": KernelError.from_os(error, request["op"]).to_wire()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3] == "idle"))
