"""A container's processes: which there are, and signals to one of them and to nobody else."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Caller, Container, ContainerSpec, Engine, ExecSpec, Process, Role, Security, State
from engine.errors import Denied, InvalidRequest, NotFound, WrongState
from tests.conftest import eventually

pytestmark = pytest.mark.one_engine

MEMBER = Caller(Role.MEMBER, "sailor")
# Three that sleep, one of them as another user.
PROGRAM = "sleep 1002 & exec sleep 1003"


@pytest.fixture
def box(dock: Engine) -> Container:
    made = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", PROGRAM)))
    dock.start(made.id)
    dock.exec(made.id, ExecSpec(("sleep", "1001"), user="crew")).close()
    wanted = {"sleep 1001", "sleep 1002", "sleep 1003"}
    assert eventually(lambda: wanted <= {each.command for each in dock.processes(made.id)})
    return dock.inspect(made.id)


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process of the host."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process.pid
        assert process.poll() is None, "somebody signalled it"
        process.kill()


def by_command(engine: Engine, box: Container, command: str) -> Process | None:
    return next((each for each in engine.processes(box.id) if each.command == command), None)


def found(engine: Engine, box: Container, command: str) -> Process:
    process = by_command(engine, box, command)
    assert process
    return process


def test_no_process_is_older_than_its_container(dock: Engine, box: Container) -> None:
    assert box.started_at_ns
    assert all(each.started_at_ns >= box.started_at_ns for each in dock.processes(box.id))


def test_who_watches_over_a_restart_sees_no_process_older_than_the_new_run(dock: Engine) -> None:
    made = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"), stop_signal="KILL"))
    dock.start(made.id)
    watch = dock.process_watch(made.id)
    assert watch.read()
    threading.Event().wait(1.2)  # whose first process is forked by now
    again = dock.restart(made.id)
    assert again.started_at_ns
    assert eventually(lambda: [each.command for each in watch.read()] == ["sleep 1000"])
    assert watch.read()[0].started_at_ns >= again.started_at_ns


def test_each_process_is_told_as_the_container_and_as_the_host_knows_it(dock: Engine, box: Container) -> None:
    first, crew = found(dock, box, "sleep 1003"), found(dock, box, "sleep 1001")
    assert (first.pid, first.pid_inside, first.uid, first.threads) == (box.pid, 1, 0, 1)
    assert crew.uid == 1000
    assert eventually(lambda: found(dock, box, "sleep 1001").state == "S"), "once it has begun to wait"
    assert crew.pid_inside > 1
    assert abs(first.started_at_ns - time.time_ns()) < 60 * 10**9
    assert 0 < first.memory_bytes < 2**24


def test_a_watch_sees_what_a_process_has_become_and_what_it_uses(dock: Engine) -> None:
    made = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "read x; exec cat"), stdin=True))
    dock.start(made.id)
    watch = dock.process_watch(made.id)
    assert eventually(lambda: [each.name for each in watch.read()] == ["sh"])
    typed = dock.input(made.id)
    os.write(typed, b"go\n")
    assert eventually(lambda: [each.command for each in watch.read()] == ["cat"])
    os.close(typed)


def test_a_busy_process_is_charged(dock: Engine) -> None:
    made = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "while :; do :; done")))
    dock.start(made.id)
    watch = dock.process_watch(made.id)
    assert eventually(lambda: sum(each.cpu_time_ns for each in watch.read()) > 200_000_000)


def test_a_signal_reaches_one_process_and_no_other(dock: Engine, box: Container) -> None:
    one = found(dock, box, "sleep 1002")
    dock.signal_process(box.id, one.pid, one.start_time, "STOP")
    assert eventually(lambda: found(dock, box, "sleep 1002").state == "T")
    dock.signal_process(box.id, one.pid, one.start_time, "CONT")
    assert eventually(lambda: found(dock, box, "sleep 1002").state == "S")
    dock.signal_process(box.id, one.pid, one.start_time, "KILL")
    assert eventually(lambda: by_command(dock, box, "sleep 1002") is None)
    assert eventually(lambda: found(dock, box, "sleep 1001").state == "S")
    assert dock.inspect(box.id).state is State.RUNNING


def test_the_first_process_may_be_ended_too(dock: Engine, box: Container) -> None:
    first = found(dock, box, "sleep 1003")
    dock.signal_process(box.id, first.pid, first.start_time, "KILL")
    assert dock.wait(box.id, timeout_s=20).signal == 9


def test_nobody_else_is_signalled_whatever_pid_is_named(dock: Engine, box: Container, stranger: int) -> None:
    other = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    dock.start(other.id)
    (neighbour,) = dock.processes(other.id)
    began = int(Path(f"/proc/{stranger}/stat").read_text().rpartition(")")[2].split()[19])
    mine = found(dock, box, "sleep 1002")
    for pid, start in (
        (stranger, began),  # the host's
        (neighbour.pid, neighbour.start_time),  # another container's
        (mine.pid, mine.start_time - 1),  # one that had this pid before
        (mine.pid, 0),
        (0, 0),  # kill(2): the caller's process group
        (-1, 0),  # kill(2): everybody
        (1, 0),
        (2**40, 0),
    ):
        with pytest.raises(NotFound):
            dock.signal_process(box.id, pid, start, "KILL")
    assert found(dock, box, "sleep 1002").pid == mine.pid
    assert [each.pid for each in dock.processes(other.id)] == [neighbour.pid]


def test_who_may_not_enter_neither_looks_nor_signals(dock: Engine) -> None:
    made = dock.create(ContainerSpec(image="busybox", command=("sleep", "9"), security=Security(privileged=True)))
    dock.start(made.id)
    (one,) = dock.processes(made.id)
    with pytest.raises(Denied):
        dock.processes(made.id, caller=MEMBER)
    with pytest.raises(Denied):
        dock.signal_process(made.id, one.pid, one.start_time, "KILL", caller=MEMBER)
    assert [each.pid for each in dock.processes(made.id)] == [one.pid]


def test_what_does_not_run_has_no_processes(dock: Engine) -> None:
    made = dock.create(ContainerSpec(image="busybox", command=("sleep", "9")))
    assert dock.processes(made.id) == []
    with pytest.raises(WrongState, match="start it"):
        dock.signal_process(made.id, 1, 1, "KILL")
    with pytest.raises(InvalidRequest):
        dock.signal_process(made.id, 1, 1, "NONSENSE")


def test_in_a_paused_container_a_signal_waits(dock: Engine, box: Container) -> None:
    one = found(dock, box, "sleep 1002")
    dock.pause(box.id)
    dock.signal_process(box.id, one.pid, one.start_time, "TERM")
    assert dock.inspect(box.id).state is State.PAUSED
    dock.unpause(box.id)
    assert eventually(lambda: by_command(dock, box, "sleep 1002") is None)


def test_a_hostile_name_stays_a_name(dock: Engine) -> None:
    """A program calls itself what it likes, with a bracket and a line break; what follows is read from the last one."""
    script = "printf 'a) R 1 2\\n(' > /proc/self/comm; read x"
    made = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script), stdin=True))
    dock.start(made.id)
    assert eventually(lambda: [each.name for each in dock.processes(made.id)] == ["a) R 1 2\n("])
    assert dock.processes(made.id)[0].pid_inside == 1
