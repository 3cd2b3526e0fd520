"""Attacks on terminals: on what one is opened by, and through one on the host (CVE-2025-52565, CVE-2017-5226)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import Container, ContainerSpec, Engine, EngineError, ExecSpec, VolumeMount
from engine.linux.files import Inotify
from tests.conftest import wait_readable
from tests.engine.faults.injection import TOP
from tests.engine.isolation.racer import racing
from tests.soak import amount

TRIES = amount(50, 500)
IN_OPEN = 0x20  # inotify(7)
DEVICE = ("stat", "-L", "-c", "%t", "/proc/self/fd/0")
PSEUDO_TERMINAL = "88"  # the host's device number 136


@pytest.fixture
def runs(dock: Engine) -> Container:
    """A container that waits, and whose files are in reach through its root."""
    made = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    return dock.start(made.id)


def entered(dock: Engine, container: Container) -> str | int:
    """What a command in a new terminal finds it to be; or the code of the refusal."""
    try:
        terminal = dock.terminal(container.id, ExecSpec(DEVICE))
    except EngineError as error:
        return error.exit_code
    shown = b""
    while data := terminal.read():
        shown += data
    terminal.close()
    assert terminal.exit_code == 0
    return shown.decode().strip()


def test_what_a_terminal_is_opened_by_cannot_be_changed_from_inside(dock: Engine, runs: Container) -> None:
    """`engine.linux.tty` opens /dev/pts/ptmx: it is neither replaced, nor renamed, nor mounted over."""
    for command in (
        "mv /dev/pts /dev/other",
        "rm -r /dev/pts",
        "umount /dev/pts",
        "mount -t tmpfs none /dev/pts",
        "mount -o bind /tmp /dev/pts",
        "rm -f /dev/pts/ptmx",
        "mv /dev/pts/ptmx /dev/pts/other",
        "mv /dev/null /dev/pts/ptmx",
        "ln -s /dev/null /dev/pts/other",
        "mknod /dev/pts/other c 5 2",
    ):
        with dock.exec(runs.id, ExecSpec(("busybox", *command.split()), stdin=False)) as execution:
            code, _, errors = execution.output(timeout_s=30)
        assert code != 0, command
        assert errors
        assert entered(dock, runs) == PSEUDO_TERMINAL


def test_devices_that_are_swapped_while_a_terminal_opens(dock: Engine, runs: Container) -> None:
    """By somebody outside, whom the kernel lets rename what is mounted on in here alone: no process of a container is
    that. The link is not followed."""
    root = Path(f"/proc/{runs.pid}/root")
    (root / "tmp/pts").mkdir()
    (root / "tmp/pts/ptmx").touch()
    (root / "tmp/pts/ptmx").chmod(0o666)
    with dock.exec(runs.id, ExecSpec(("busybox", "ln", "-s", "/tmp/pts", "/dev/link"))) as execution:
        assert execution.output(timeout_s=30)[0] == 0
    trap = Inotify()
    trap.add(str(root / "tmp/pts/ptmx"), IN_OPEN)
    found = []
    try:
        with racing(root / "dev", "pts", "link"):
            found = [entered(dock, runs) for _ in range(TRIES)]
        assert trap.read() == []
    finally:
        trap.close()
    assert set(found) == {PSEUDO_TERMINAL, 125}, "some were quick enough, and some were not"


def test_a_volume_that_gets_onto_the_terminals_while_one_opens(dock: Engine) -> None:
    """At a start: nothing is mounted below /dev by name, but another container may swap a place for a link to it."""
    for name in ("shared", "inner"):
        dock.create_volume(name)
    shared, inner = dock.paths.volume("shared"), dock.paths.volume("inner")
    for target in ("/dev", "/dev/pts", "//dev/./pts/"):
        with pytest.raises(EngineError, match="nothing can be mounted"):
            dock.create(ContainerSpec(image="busybox", volumes=(VolumeMount("inner", target),)))
    (shared / "place").mkdir()
    (shared / "link").symlink_to("/dev/pts")
    (inner / "ptmx").symlink_to("/shared/trap")
    (shared / "trap").touch()
    (shared / "trap").chmod(0o666)
    volumes = (VolumeMount("shared", "/shared"), VolumeMount("inner", "/shared/place", copy=False))
    container = dock.create(ContainerSpec(image="busybox", command=DEVICE, tty=True, volumes=volumes))
    trap = Inotify()
    trap.add(str(shared / "trap"), IN_OPEN)
    started, refused = 0, set()
    try:
        with racing(shared, "place", "link"):
            for _ in range(TRIES):
                try:
                    dock.start(container.id)
                except EngineError as error:
                    refused.add(error.exit_code)
                    continue
                started += 1
                assert dock.wait(container.id, timeout_s=30).code == 0
                (*_, line) = dock.logs(container.id)
                assert line.text.strip() == PSEUDO_TERMINAL
        assert trap.read() == []
    finally:
        trap.close()
    assert started, "some were quick enough"
    assert refused == {125}, "and some were not"


TYPES = """
import fcntl, os, termios
for name in ("/dev/fd/0", "/dev/fd/1", "/dev/fd/2", "/dev/tty"):
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY)
        for letter in b"typed":
            fcntl.ioctl(descriptor, termios.TIOCSTI, bytes([letter]))
        print("typed")
    except OSError as error:
        print(error)
"""
TYPED = """
import os, sys
from pathlib import Path
from engine import Config, ContainerSpec, Engine, ExecSpec
typing = ("/usr/bin/python3", "-I", "-c", sys.argv[3])
engine = Engine(Config(Path(sys.argv[1]), Path(sys.argv[2])), spawn_launcher=True)
for tty in (False, True):
    container = engine.create(ContainerSpec(image="wharfie/starter", command=(*typing,), tty=tty))
    engine.start(container.id)
    engine.wait(container.id, timeout_s=60)
    os.write(2, "".join(line.text for line in engine.logs(container.id)).encode())
container = engine.create(ContainerSpec(image="wharfie/starter", command=("sleep", "1000")))
engine.start(container.id)
with engine.exec(container.id, ExecSpec(typing, stdin=False)) as execution:
    os.write(2, execution.output(timeout_s=60)[1])
terminal = engine.terminal(container.id, ExecSpec(typing))
while data := terminal.read():
    os.write(2, data)
terminal.close()
for container in engine.containers():
    engine.remove(container.id, force=True)
"""


def test_cve_2017_5226_what_a_container_types_reaches_no_terminal_of_the_host(starter: Engine) -> None:
    """TIOCSTI: whoever sits at a terminal and starts engine, launcher and container with it shares it with none."""
    if before := answering(str(starter.paths.launcher_socket)):  # other tests' containers may run on without it
        pidfd = os.pidfd_open(before)
        os.kill(before, signal.SIGTERM)
        assert wait_readable(pidfd, timeout_s=20)
        os.close(pidfd)
    master, slave = os.openpty()
    os.set_blocking(master, False)

    def at_the_terminal(*command: str) -> bytes:
        at = ["setsid", "--ctty", "--wait", *command]
        return subprocess.run(
            at, stdin=slave, stdout=slave, stderr=subprocess.PIPE, cwd=TOP, timeout=120, check=True
        ).stderr

    try:
        paths = [str(starter.config.root), str(starter.config.run)]
        said = at_the_terminal(sys.executable, "-c", TYPED, *paths, TYPES)
        assert said.count(b"typedtyped") == 4 + 4, "into its own, where it had one"
        with pytest.raises(BlockingIOError):
            os.read(master, 1)
        at_the_terminal(sys.executable, "-c", TYPES)
        assert b"typed" in os.read(master, 4096), "which would have been seen"
    finally:
        os.close(slave)
        os.close(master)
