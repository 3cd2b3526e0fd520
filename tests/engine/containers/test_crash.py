"""kill -9 of what serves: containers, their lines and their exit codes stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import ContainerSpec, Engine, State

LINES = 20_000
COUNT = 5
COMMAND = "i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); done; exit %d"
HOLDER = """
import sys
from pathlib import Path
from engine import Config, Engine
engine = Engine(Config(Path(sys.argv[1]), Path(sys.argv[2])))
for ref in sys.argv[3:]:
    engine.start(ref)
print("started", flush=True)
for line in engine.logs(sys.argv[3], follow=True):
    pass
"""


def kill(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


@pytest.mark.parametrize("victims", ["launcher", "web", "both"])
def test_containers_lose_nothing_when_their_keepers_are_killed(dock: Engine, victims: str) -> None:
    containers = [
        dock.create(ContainerSpec(image="busybox", command=("sh", "-c", COMMAND % (LINES, number))))
        for number in range(1, COUNT + 1)
    ]
    first = dock.create(ContainerSpec(image="busybox", command=("true",)))
    dock.start(first.id)  # the launcher is up
    dock.wait(first.id, timeout_s=10)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(dock.config.root), str(dock.config.run), *(c.id for c in containers)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[3],
    ) as web:
        assert web.stdout is not None
        assert web.stdout.readline() == b"started\n"
        launcher = answering(str(dock.paths.launcher_socket))
        assert launcher
        if victims in ("launcher", "both"):
            kill(launcher)
        if victims in ("web", "both"):
            kill(web.pid)
        for number, container in enumerate(containers, 1):
            assert dock.wait(container.id, timeout_s=60).code == number
            assert [line.text for line in dock.logs(container.id)] == [f"line {i}" for i in range(LINES)]
        web.wait(30)
    again = dock.create(ContainerSpec(image="busybox", command=("sleep", "100")))
    assert dock.start(again.id).state is State.RUNNING, "a new launcher serves"


def test_a_killed_shim_is_said_and_never_invented(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "100")))
    dock.start(container.id)
    record = dock._records.running(container.id)
    assert record is not None
    kill(record["shim_pid"])
    assert dock.inspect(container.id).state is State.RUNNING, "the container goes on"
    dock.stop(container.id, timeout_s=0)
    ended = dock.inspect(container.id).exit
    assert ended is not None
    assert ended.code is None
    assert "nobody saw" in ended.reason
    dock.start(container.id)
    assert dock.inspect(container.id).state is State.RUNNING, "and it can be started again"
