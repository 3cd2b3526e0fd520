"""Started as ``python -I -S engine/launcher/__main__.py RUN INSTANCE idle|stay BUILD``; see `engine.launcher.start`.

Keeps one child ahead, which accepts the next connection, reads the request, serves it and answers. So a request can
neither block nor break the launcher. With IDLE it ends by itself when nobody needed it for a while and no child is
left.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from engine.cgroups import manager
from engine.errors import EngineError, KernelError, Unsupported
from engine.launcher import keeper
from engine.linux import files, overlayfs, pidfds, process, unix
from engine.shim import birth, protocol, starter
from engine.shim import main as shim

OOM_SCORE = -500
MOST_MESSAGES_BYTES = 2**20
IDLE_MS = 3000
ENDING_S, LEAVING_S = 0.5, 5.0  # how long shims that may go on, and others, are waited for at the end
AT_REST_MS = 8  # after a request: it has started its container, and there is time for the next spare child
# What a request may ask for: (module, function) taking (request, fds) and returning the answer.
WORKERS = {
    "files": ("engine.files.worker", "serve"),
    "unpack": ("engine.archives.worker", "unpack"),
    "probe": ("engine.linux.probe", "answer"),
}


def main(run: str, instance: str, idle: bool) -> int:
    """Serve until SIGTERM; with ``idle`` go into the background first. 3 when another launcher serves this instance."""
    if idle and os.fork():
        os._exit(0)
    lock = os.open(f"{run}/launcher.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 3  # another launcher serves this instance
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    process.ignored_signals()  # asked once, for all forks
    # Blocked for all children too: a shim ends with its container, not before.
    signals = process.signal_descriptor({signal.SIGTERM, signal.SIGCHLD})
    process.set_name(b"wharfie-launch")
    process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
    process.protect_from_oom(OOM_SCORE)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # four for each container
    try:
        manager.join_engine(instance, f"{run}/groups.lock")
        _live(run, instance, idle, lock, signals)
    finally:  # whatever it met: nobody else takes the groups away
        _leave(run, instance)
    return 0


def _live(run: str, instance: str, idle: bool, lock: int, signals: int) -> None:
    """From the first request to the last."""
    listener = unix.bind(f"{run}/launcher.sock")  # the lock is ours, so who was there is dead
    listener.listen(256)

    # Nothing of the caller's terminal: shims live longer, and a pipe held open would never end for its reader.
    messages = os.open(f"{run}/launcher.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if os.fstat(messages).st_size > MOST_MESSAGES_BYTES:  # of launchers before this one; they lie in memory
        os.ftruncate(messages, 0)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for source, target in ((null, 0), (messages, 1), (messages, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(messages)

    overlayfs.way()  # asked once, for all forks
    if not idle:  # at a command line somebody waits for the first container
        _rehearse(f"{run}/.rehearsal")
    gc.collect()
    gc.freeze()
    keeping = _serve(listener, signals, lock, idle, run, instance)

    listener.shutdown(socket.SHUT_RD)  # the spare ends of that, if nobody has come to it meanwhile
    listener.close()
    files.remove(f"{run}/custody.sock")
    os.kill(keeping, signal.SIGKILL)


def _leave(run: str, instance: str) -> None:
    """Leave the engine's groups when no child is left in them, or only those that are there for running containers.

    Shims whose container has just ended need a moment, and so do the helpers that were killed and their children: on a
    busy host several.
    """
    began = time.monotonic()
    while True:
        _reap()
        left = process.children()
        waited_s = time.monotonic() - began
        # With shims left too: the last of them may end before we have.
        if not left or waited_s > LEAVING_S or (waited_s > ENDING_S and all(_is_shim(pid) for pid in left)):
            manager.leave_engine(instance, f"{run}/groups.lock")
            return
        select.select((), (), (), 0.01)


def _is_shim(pid: int) -> bool:
    """Whether a process is the shim of a container, and no helper of ours."""
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as file:
            return file.read().startswith("shim ")
    except OSError:  # it ended
        return False


def _serve(listener: socket.socket, signals: int, lock: int, idle: bool, run: str, instance: str) -> int:
    """Keep a child ahead of the next request, until SIGTERM or until nobody needs that. The keeper's pid.

    Who has come by then is served: nobody else comes once the socket has no name any more.

    What this loop writes to, each child then has its own old copy of: so it does little, and in few places.
    """
    reports, report = os.pipe2(os.O_CLOEXEC)
    at_rest, asking, door = select.poll(), select.poll(), select.poll()
    for poll in (at_rest, asking):
        poll.register(signals, select.POLLIN)
        poll.register(reports, select.POLLIN)
    for poll in (asking, door):
        poll.register(listener.fileno(), select.POLLIN)
    keeping, tell = keeper.begin(run, instance)
    spare, ahead, until, launcher_pid = 0, True, 0.0, os.getpid()
    while not until or (door.poll(0) and time.monotonic() < until):
        patience = ENDING_S * 1000 if until else IDLE_MS if idle else None
        ready = at_rest.poll(patience) if spare else asking.poll(AT_REST_MS if ahead else patience)
        asked = False
        for descriptor, _ in ready:
            if descriptor == reports:
                os.read(reports, 1)
                spare, ahead = 0, True
            elif descriptor == signals:
                if os.read(signals, 128)[0] == signal.SIGTERM:
                    until = time.monotonic() + LEAVING_S
                ended = _reap(tell)
                if keeping in ended:
                    os.close(tell)
                    keeping, tell = keeper.begin(run, instance)
                if spare in ended:  # it came to nothing, so no other one until there is a need
                    spare, ahead = 0, False
            else:
                asked = True
        if not spare and (asked or (ahead and not ready)):
            spare = os.fork()
            if not spare:
                _child(listener, report, launcher_pid, (reports, signals, lock, tell), run, instance)
        elif not until and not ready and set(process.children()) <= {spare, keeping} and not _needed(run):
            until = time.monotonic() + LEAVING_S
        if until:
            files.remove(f"{run}/launcher.sock")
    return keeping


def _needed(run: str) -> bool:
    """Whether there is a container, of an earlier launcher perhaps, whose shim may have to be replaced."""
    return any(name.endswith(".json") for name in os.listdir(f"{run}/shims"))


def _reap(tell: int = -1) -> list[int]:
    """The children that ended, shims and the orphans of killed ones; the keeper is told how each did."""
    ended: list[int] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended.append(pid)
        if tell >= 0:
            try:
                os.write(tell, keeper.ENDED.pack(pid, status))
            except BrokenPipeError:  # it was killed, and is one of those that ended
                tell = -1


def _rehearse(scratch: str) -> None:
    os.makedirs(scratch, 0o700, exist_ok=True)
    shim.rehearse(scratch)
    for name in os.listdir(scratch):
        os.unlink(f"{scratch}/{name}")
    os.rmdir(scratch)


def _child(
    listener: socket.socket, report: int, launcher_pid: int, inherited: tuple[int, ...], run: str, instance: str
) -> NoReturn:
    """A shim, or what serves another request."""
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
            return listener.accept()[0]
        except BlockingIOError:  # another one took it
            continue
    return None


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3] == "idle"))
