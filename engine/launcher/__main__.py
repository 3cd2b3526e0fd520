"""Started as ``python -I -S engine/launcher/__main__.py RUN INSTANCE idle|stay BUILD``; see `engine.launcher.start`.

Keeps one child ahead, which accepts the next connection, reads the request, serves it and answers. So a request can
neither block nor break the launcher. With IDLE it ends by itself when nobody needed it for a while and no child is
left.
"""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import select
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from engine.cgroups import manager
from engine.launcher import keeper, requests
from engine.linux import files, overlayfs, process, unix
from engine.shim import main as shim

OOM_SCORE = -500
MOST_MESSAGES_BYTES = 2**20
IDLE_MS = 3000
ENDING_S, LEAVING_S = 0.5, 5.0  # how long shims that may go on, and others, are waited for at the end
AT_REST_MS = 8  # after a request: it has started its container, and there is time for the next spare child


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

    Who has come by then is served: once the socket has no name and is shut nobody else comes, and a spare that finds
    nobody there tells that they are all served.

    What this loop writes to, each child then has its own old copy of: so it does little, and in few places.
    """
    reports, report = os.pipe2(os.O_CLOEXEC)
    at_rest, asking = select.poll(), select.poll()
    for poll in (at_rest, asking):
        poll.register(signals, select.POLLIN)
        poll.register(reports, select.POLLIN)
    asking.register(listener.fileno(), select.POLLIN)
    keeping, tell = keeper.begin(run, instance)
    spare, ahead, until, shut, launcher_pid = 0, True, 0.0, False, os.getpid()
    while not shut or (time.monotonic() < until and (spare or ahead or at_rest.poll(0))):
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
                requests.serve(listener, report, launcher_pid, (reports, signals, lock, tell), run, instance)
        elif not until and not ready and set(process.children()) <= {spare, keeping} and not _needed(run):
            until = time.monotonic() + LEAVING_S
        if until and not shut:
            files.remove(f"{run}/launcher.sock")
            listener.shutdown(socket.SHUT_RD)  # whoever has found it and is not yet there is refused, and tries again
            shut = ahead = True
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3] == "idle"))
