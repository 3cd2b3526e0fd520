"""``manage.py serve``: start the launcher and the web process, keep them up, and end them in order.

Two lives of one process. In the first (`console.preflight`) it looks at the host, the port and the
certificate, with all the modules that this takes. Then it replaces itself by a bare interpreter that
only watches: this module, which imports nothing but what the interpreter holds anyway (a few MB less,
for as long as the console is up). `signal` and `socket` would bring `enum` and `re`; their C halves do.

    manage.py serve ── exec ──> manage.py serve --watch SHIMS SOCKET LISTEN_FD -- launcher… -- web…
                                 ├─ launcher   its own session; the containers' shims outlive it
                                 └─ web        its own session; ends when this process does
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import os
import select
import struct
import sys
import time

PATIENCE_MS = 10_000  # for a child to end by itself
BACKOFF_S = (0.1, 10.0)  # first and longest pause before a restart
SWEEPS, SWEEP_PAUSE_MS = 50, 20  # how often to try, a second in all
F_SETSIG = 10  # fcntl(2); Python does not name it
WEB_LISTEN_FD, WEB_LIFELINE_FD = 3, 4


def main(argv: list[str]) -> int:
    """Serve until SIGINT or SIGTERM; the exit code is 1 when this host or its settings forbid it."""
    if argv[:1] == ["--watch"]:
        shims, socket, listen_fd, *commands = argv[1:]
        middle = commands.index("--", 1)
        return Supervisor(shims, socket, int(listen_fd), commands[1:middle], commands[middle + 1 :]).run()
    if argv:
        say("usage: manage.py serve    (settings are WHARFIE_* variables: see README.md)", 2)
        return 2
    from console.preflight import prepare

    plan = prepare()
    if plan is None:
        return 1
    manage = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "manage.py")
    bare = [sys.executable, "-S", "-E", "-s", manage, "serve", "--watch", plan.shims, plan.socket, str(plan.listen_fd)]
    os.execve(sys.executable, [*bare, "--", *plan.launcher, "--", sys.executable, manage, *plan.web], plan.environment)


def say(text: str, fd: int = 1) -> None:
    """Print a line. After a logout nobody may be there to read it, which must not end the console."""
    try:
        os.write(fd, f"{text}\n".encode())
    except OSError:
        return


class Child:
    """A process that is kept up. ``pidfd`` is -1 while it is down."""

    def __init__(self, name: str, argv: list[str]) -> None:
        self.name = name
        self.argv = argv
        self.pid = 0
        self.pidfd = -1
        self.adopted = False
        self.pause_s = BACKOFF_S[0]
        self.started_s = 0.0
        self.due_s = 0.0  # when to start it next, by the monotonic clock

    def spawn(self, inherit: dict[int, int]) -> None:
        """Start it in its own session: Ctrl-C is for the supervisor alone. ``inherit``: its fd -> ours."""
        actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in inherit.items()]
        self.hold(os.posix_spawn(self.argv[0], self.argv, os.environ, file_actions=actions, setsid=True))
        self.adopted = False

    def hold(self, pid: int) -> None:
        """Watch this process."""
        self.pid, self.pidfd = pid, os.pidfd_open(pid)

    def ended(self) -> str:
        """Collect it after its pidfd became readable; say how it ended."""
        try:
            status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            how = f"was killed by signal {-status}" if status < 0 else f"ended with code {status}"
        except ChildProcessError:
            how = "ended"  # adopted: its status went to its own parent
        self.forget()
        return how

    def forget(self) -> None:
        """Stop watching."""
        os.close(self.pidfd)
        self.pidfd = -1

    def stop(self) -> None:
        """End it: SIGTERM, ten seconds, SIGKILL. Returns when it is gone."""
        if self.pidfd < 0:
            return
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        for signal in (_signal.SIGTERM, _signal.SIGKILL):
            try:
                _signal.pidfd_send_signal(self.pidfd, signal)
            except ProcessLookupError:
                break  # it went by itself, just now
            if poll.poll(PATIENCE_MS):
                break
        self.ended()


class Supervisor:
    """Watches both children. They talk to each other, never to this process."""

    def __init__(self, shims: str, socket: str, listen_fd: int, launcher: list[str], web: list[str]) -> None:
        self.shims = shims
        self.socket = socket
        self.listen_fd = listen_fd  # -1: the web process binds by itself (TLS)
        self.launcher = Child("launcher", launcher)
        self.web = Child("web", web)
        self.lifeline, self._lifeline_writer = os.pipe()

    def run(self) -> int:
        """Serve until told to stop. SIGHUP: with another web process, which reads certificate and code anew."""
        bell, ring = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(ring)
        for signal in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
            _signal.signal(signal, lambda _number, _frame: None)  # the byte in the pipe is what counts
        if os.isatty(0):  # there it is a logout, which is no wish
            _signal.signal(_signal.SIGHUP, _signal.SIG_IGN)
        if self.listen_fd >= 0:
            os.set_inheritable(self.listen_fd, False)
        children = (self.launcher, self.web)
        while True:
            for child in children:
                if child.pidfd < 0 and child.due_s <= time.monotonic():
                    self.start(child)
            poll = select.poll()
            poll.register(bell, select.POLLIN)
            for child in children:
                if child.pidfd >= 0:
                    poll.register(child.pidfd, select.POLLIN)
            waits = [max(0.0, child.due_s - time.monotonic()) for child in children if child.pidfd < 0]
            ready = {fd for fd, _events in poll.poll(min(waits) * 1000 + 1 if waits else None)}
            if bell in ready:
                if set(os.read(bell, 64)) != {int(_signal.SIGHUP)}:
                    return self.stop()
                self.web.stop()
                self.web.due_s = 0.0
                continue
            for child in children:
                if child.pidfd in ready:
                    self.restart_later(child)

    def start(self, child: Child) -> None:
        """Bring a child up, or take over the launcher that an earlier supervisor or a command line left."""
        child.started_s = time.monotonic()
        if child is self.launcher:
            pid = answering(self.socket)
            child.adopted = bool(pid) and self.take_over(pid)
            if not child.adopted:
                child.spawn({})
            return
        inherit = {WEB_LIFELINE_FD: self.lifeline}
        if self.listen_fd >= 0:
            inherit[WEB_LISTEN_FD] = self.listen_fd
        child.spawn(inherit)
        self.tie(child.pid)

    def take_over(self, pid: int) -> bool:
        """Watch a launcher that serves already. Of one that was killed, a child listens a moment longer."""
        try:
            self.launcher.hold(pid)
        except OSError:  # ESRCH, or EINVAL of older kernels where its session outlives it
            return False
        return True

    def tie(self, pid: int) -> None:
        """Let the kernel send SIGTERM to the web process when this process is gone, however it went.

        The web process holds the read end of a pipe whose only writer is here; the writer's end makes the
        read end "ready", which O_ASYNC turns into a signal for the owner (fcntl(2), F_SETOWN and F_SETSIG).
        """
        fcntl.fcntl(self.lifeline, fcntl.F_SETOWN, pid)
        fcntl.fcntl(self.lifeline, F_SETSIG, _signal.SIGTERM)
        fcntl.fcntl(self.lifeline, fcntl.F_SETFL, fcntl.fcntl(self.lifeline, fcntl.F_GETFL) | os.O_ASYNC)

    def restart_later(self, child: Child) -> None:
        """Note that a child ended; a child that lived for a while is not punished for an old fault."""
        how = child.ended()
        if child.adopted:  # it was meant to end once nobody needed it: an own one takes its place at once
            return
        now = time.monotonic()
        if now - child.started_s > BACKOFF_S[1]:
            child.pause_s = BACKOFF_S[0]
        say(f"wharfie: the {child.name} process {how}; starting it again in {child.pause_s:g} s", 2)
        child.due_s = now + child.pause_s
        child.pause_s = min(child.pause_s * 2, BACKOFF_S[1])

    def stop(self) -> int:
        """End web, then the launcher; containers and their shims stay."""
        self.web.stop()
        if self.launcher.adopted and parent_serves(self.launcher.pid):
            self.launcher.forget()  # another console on the same root keeps it up
        else:
            self.launcher.stop()
        running = count_running(self.shims)
        if running:
            from console.onhost import COMMANDS  # now, when memory is about to be given up anyway

            plural = "container still runs" if running == 1 else "containers still run"
            say(f"console stopped; {running} {plural}; `{COMMANDS.down}` stops them")
        else:
            sweep()
            say("console stopped")
        return 0


def answering(path: str) -> int:
    """The pid of the launcher that listens on this socket, or 0; unix(7), SO_PEERCRED."""
    directory, name = os.path.split(path)
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{fd}/{name}")  # a socket's address holds 107 bytes, a path may be longer
        return int(struct.unpack("3i", connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))[0])
    except OSError:
        return 0
    finally:
        connection.close()
        os.close(fd)


def parent_serves(pid: int) -> bool:
    """Whether this process is the child of a supervisor."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            parent = int(stat.read().rpartition(b")")[2].split()[1])
        with open(f"/proc/{parent}/cmdline", "rb") as cmdline:
            return b"manage.py\0serve\0" in cmdline.read()
    except OSError:
        return False


def sweep() -> None:
    """With nothing running, the instance's own groups go too: a launcher that was killed could not remove them."""
    from engine.cgroups import manager  # memory no longer matters
    from engine.config import Config
    from engine.storage.instance import instance_id

    instance = instance_id(Config.from_environment())
    for _ in range(SWEEPS):
        try:
            manager.group(instance, manager.ENGINE_GROUP).remove()
        except OSError:
            select.poll().poll(SWEEP_PAUSE_MS)  # a shim is just ending, or another console's launcher is in there
        else:
            manager.remove_instance(instance)
            return


def count_running(shims: str) -> int:
    """How many containers of this instance run, by their run records: a pid counts with its start time and boot."""
    import json

    from engine.linux.process import boot_id, start_time  # memory no longer matters

    try:
        names = os.listdir(shims)
    except OSError:
        return 0
    boot, running = boot_id(), 0
    for name in names:
        if name.endswith(".json") and not name.startswith("."):
            try:
                with open(os.path.join(shims, name), "rb") as file:
                    record = json.load(file)
                running += record["boot_id"] == boot and start_time(record["pid"]) == record["start_time"]
            except (OSError, ValueError, KeyError):
                continue  # gone or half gone: it does not run
    return running
