"""The shim's life: have the container started, supervise it until it ends, say how, clean up.

Every object that it touches is counted in a page of its own from then on, for the container's whole life; so until
there is output or a question it uses little of Python, and that from C: `_socket` and not `socket`, and no JSON.
"""

from __future__ import annotations

import _socket
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable

from engine.errors import KernelError
from engine.linux import process
from engine.shim import handover, protocol, stdio
from engine.shim.supervise import Supervisor


def run(serve: Callable[[socket.socket], None], others: tuple[int, ...]) -> None:
    """Have ``serve`` make a container in a child, which hands it over, and see it through to its end.

    ``serve`` gets the socket for that, and may well end without a container. ``others`` are the child's alone.
    """
    os.setsid()
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    starter = os.fork()
    if starter == 0:
        ours.close()
        serve(socket.socket(fileno=theirs.detach()))
        os._exit(0)
    theirs.close()
    for descriptor in others:
        os.close(descriptor)
    made = handover.take(ours)
    ours.close()
    if isinstance(made, handover.Handover):
        process.set_name(made.name)
        began = time.monotonic()
        if not made.checked and made.desk < 0:
            starter = _rest(made, starter)
        supervisor = Supervisor(made, began=began)
        if starter:
            supervisor.see_off(starter)
        supervisor.run()
        return
    status = os.waitpid(starter, 0)[1]
    # A starter that was killed may have left an init that runs already, which nobody else knows of.
    for pid in process.children():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):  # and a run on record, of which a new shim says that nobody knows how it ended
        raise KernelError("its starter was killed")


def _rest(made: handover.Handover, starter: int) -> int:
    """Wait until the container has something for its shim, and reap the starter meanwhile; its pid if that still lives.

    Most containers are silent most of their life. Until the first word of one, its shim is this poll and no more: what
    watches it would cost it 200 kB.
    """
    starting = os.pidfd_open(starter)
    poll = select.poll()
    for descriptor in (starting, made.pidfd, made.listener, *made.outputs):
        poll.register(descriptor, select.POLLIN)
    ready = poll.poll()
    if len(ready) == 1 and ready[0][0] == starting:
        poll.unregister(starting)
        os.close(starting)
        os.waitpid(starter, 0)
        poll.poll()
        return 0
    os.close(starting)
    return starter


def rehearse(directory: str) -> None:
    """Run the code of a shim's life in the launcher, on scratch files, before any fork.

    Python 3.11 specialises bytecode and fills caches by writing into pages that a fork shares; done once before
    the fork they stay shared, about 80 KB less private memory for each shim.
    """
    log = stdio.Log.begun(directory, 2**20, 3)
    read_end, both = stdio.open_pipe(0)
    pump = stdio.Pump(log, stdio.STDOUT, read_end)
    for _ in range(200):
        os.write(both, b"warm\n")
        pump.move()
    left, right = socket.socketpair()
    for _ in range(50):
        protocol.send(left, {"op": "wait", "time": time.time_ns(), "nested": {"limits": [1, 2.5, None]}})
        protocol.receive(right)
    for _ in range(20):
        starting = os.fork()
        if starting == 0:
            os._exit(0)
        started = os.pidfd_open(starting)
        child = os.fork()
        if child == 0:
            select.select([started], (), ())
            os._exit(0)
        pidfd = os.pidfd_open(child)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        outputs, any_fd = (read_end, started), log.fd
        run = handover.Handover(
            b"", b"{}", False, pidfd, any_fd, any_fd, outputs, -1, -1, any_fd, any_fd, left.fileno()
        )
        run.give(theirs)
        theirs.send(handover.EXECUTED)
        made = handover.take(ours)
        ours.close()
        theirs.close()
        if not isinstance(made, handover.Handover):
            raise AssertionError("what is handed over does not arrive")
        if _rest(made._replace(outputs=(read_end,)), starting):
            os.waitpid(starting, 0)
        supervisor = Supervisor(made._replace(outputs=(read_end,)), began=0.0)
        supervisor.see_off(child)
        supervisor.watch()
        for descriptor in (
            pidfd,
            started,
            made.pidfd,
            made.root,
            made.tree,
            *made.outputs,
            made.exit,
            made.log,
            made.listener,
        ):
            os.close(descriptor)
    json.loads(json.dumps({"warm": True}))
    left.close()
    right.close()
    log.close()
    os.close(read_end)
    os.close(both)
