"""The shim's life: have the container started, supervise it until it ends, say how, clean up."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable

from engine.linux import process
from engine.shim import protocol, stdio
from engine.shim.supervise import Supervisor

OOM_SCORE = -998


def run(serve: Callable[[socket.socket], None], source: socket.socket) -> None:
    """Have ``serve`` make a container in a child, which hands it over, and see it through to its end.

    ``serve`` gets the socket for that, and may well end without a container. ``source`` is the child's alone.
    """
    os.setsid()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    starter = os.fork()
    if starter == 0:
        ours.close()
        serve(theirs)
        os._exit(0)
    theirs.close()
    source.close()
    handed = protocol.receive(ours)
    if handed is not None:
        process.protect_from_oom(OOM_SCORE)
        process.set_name(f"shim {handed[0]['request']['id'][:10]}")
        supervisor = Supervisor(*handed, starter)
        if ours.recv(1):  # its command has been executed
            ours.close()
            supervisor.run()
            return
    os.waitpid(starter, 0)
    # A starter that was killed may have left an init that runs already, which nobody else knows of.
    for pid in process.children():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


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
    json.loads(json.dumps({"warm": True}))
    left.close()
    right.close()
    log.close()
    os.close(read_end)
    os.close(both)
