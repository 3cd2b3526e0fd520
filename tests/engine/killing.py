"""kill -9 of what keeps containers, and what a power cut leaves."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from console.supervisor import answering
from engine import Container, Engine
from engine.cgroups import manager
from engine.linux import pidfds
from tests.conftest import children, eventually, name_of, stand_still

STARTER = """
import os, signal, sys
from pathlib import Path
from engine import Config, Engine
from engine.launcher import client
ask = client.protocol.receive
def die(connection):
    if sys.argv[4] == "after the answer":
        ask(connection)
    os.kill(os.getpid(), signal.SIGKILL)
client.protocol.receive = die
Engine(Config(Path(sys.argv[1]), Path(sys.argv[2]))).start(sys.argv[3])
"""
TOP = Path(__file__).resolve().parents[2]


def ask_and_die(engine: Engine, container_id: str, moment: str) -> int:
    """The exit status of a process that starts a container and is killed "before the answer" or "after the answer"."""
    arguments = [str(engine.config.root), str(engine.config.run), container_id, moment]
    return subprocess.run([sys.executable, "-c", STARTER, *arguments], cwd=TOP).returncode


def shim(engine: Engine, container: Container) -> int:
    """The pid of a container's shim."""
    pid = engine._records.shim(container.id)
    assert pid is not None
    return pid


def launcher(engine: Engine) -> int:
    """The pid of an instance's launcher."""
    pid = answering(str(engine.paths.launcher_socket))
    assert pid
    return pid


def kill_keepers(engine: Engine) -> None:
    """Kill the launcher and its keeper: nobody is left who would give a container another shim."""
    master = launcher(engine)

    def keepers(parent: int) -> list[int]:
        return [child for child in children(parent) if name_of(child) == "wharfie-keeper"]

    assert eventually(lambda: len(keepers(master)) == 1 and not keepers(keepers(master)[0])), "it has collected"
    stand_still(master)  # it would have another keeper
    kill(*keepers(master))
    kill(master)


def kill(pid: int) -> None:
    """SIGKILL; on return it is dead."""
    pidfd = pidfds.of(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        assert select.select([pidfd], (), (), 10)[0]
    finally:
        os.close(pidfd)


def adopted(engine: Engine, container: Container, before: int, timeout_s: float = 10) -> bool:
    """Whether a container gets another shim than ``before``."""
    return eventually(lambda: engine._records.shim(container.id) not in (None, before), timeout_s)


def fall(engine: Engine, containers: Sequence[Container]) -> None:
    """What a power cut leaves of these running containers: no process, and nothing in the directory that is gone at
    reboot; and the host is up again."""
    kill_keepers(engine)
    for container in containers:
        record = engine._records._run_record(container.id)
        assert record is not None
        os.kill(record["shim_pid"], signal.SIGKILL)
        os.kill(record["pid"], signal.SIGKILL)
        manager.clear(manager.group(engine.instance, container.id))
        for path in engine.paths.shims.glob(f"{container.id}*"):
            path.unlink()
    # Who left the engine's group meanwhile found those of the containers, and let what is above them be.
    manager.clear_engine(engine.instance, str(engine.paths.groups_lock))
    engine.paths.boot.write_text("another boot")


def tells_exits() -> bool:
    """Whether this kernel tells anybody how a process ended (Linux 6.15)."""
    child = os.fork()
    if not child:
        os._exit(3)
    pidfd = pidfds.of(child)
    os.waitpid(child, 0)
    try:
        return pidfds.exit_status(pidfd) == 3 << 8
    finally:
        os.close(pidfd)
