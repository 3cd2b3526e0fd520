"""Wait, restart, rename, and who ended a run."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from engine import Container, ContainerSpec, EndedBy, Engine, ExecSpec, Limits, State, WaitFor
from engine.containers.endings import ended_by
from engine.containers.spec import ExitRecord
from engine.errors import AlreadyExists, InvalidRequest, NotFound, Unavailable, WrongState
from tests.conftest import eventually
from tests.engine.conftest import Run

PTRACE_SEIZE, WALL = 0x4206, 0x40000000

pytestmark = pytest.mark.one_engine

OBSTINATE = ("sh", "-c", "trap '' TERM; echo up; while true; do sleep 0.05; done")


def started(dock: Engine, *command: str, **options: object) -> Container:
    made = dock.create(ContainerSpec(image="busybox", command=command, **options))  # type: ignore[arg-type]
    return dock.start(made.id)


def in_background(dock: Engine, act: Callable[[], object]) -> Future[object]:
    """Begin it; on return it has subscribed, so that it misses nothing."""
    pool = ThreadPoolExecutor(1)
    before = len(list(dock.paths.events.iterdir()))
    future = pool.submit(act)
    pool.shutdown(wait=False)
    assert eventually(lambda: len(list(dock.paths.events.iterdir())) > before or future.done())
    return future


def test_not_running_is_true_at_once_of_one_that_has_ended(dock: Engine) -> None:
    container = started(dock, "sh", "-c", "exit 4")
    for _ in range(2):
        ended = dock.wait_for(container.id, WaitFor.NOT_RUNNING, timeout_s=10)
        assert ended is not None
        assert ended.code == 4


def test_next_exit_is_not_the_last_one(dock: Engine) -> None:
    container = started(dock, "sh", "-c", "test -e /once && exit 2; touch /once; exit 1")
    assert dock.wait(container.id, timeout_s=10).code == 1
    with pytest.raises(Unavailable):
        dock.wait_for(container.id, WaitFor.NEXT_EXIT, timeout_s=0.1)
    waiting = in_background(dock, lambda: dock.wait_for(container.id, WaitFor.NEXT_EXIT, timeout_s=10))
    dock.start(container.id)
    ended = waiting.result()
    assert isinstance(ended, ExitRecord)
    assert ended.code == 2


def test_next_exit_of_one_that_was_never_started(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "exit 3")))
    waiting = in_background(dock, lambda: dock.wait_for(container.id, WaitFor.NEXT_EXIT, timeout_s=10))
    dock.start(container.id)
    ended = waiting.result()
    assert isinstance(ended, ExitRecord)
    assert ended.code == 3


def test_next_exit_of_one_that_is_removed_is_never(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("true",)))
    waiting = in_background(dock, lambda: dock.wait_for(container.id, WaitFor.NEXT_EXIT, timeout_s=10))
    dock.remove(container.id)
    with pytest.raises(NotFound):
        waiting.result()


def test_removed_says_how_it_had_ended(dock: Engine) -> None:
    container = started(dock, "sleep", "100")
    with pytest.raises(Unavailable):
        dock.wait_for(container.id, WaitFor.REMOVED, timeout_s=0.1)
    waiting = in_background(dock, lambda: dock.wait_for(container.id, WaitFor.REMOVED, timeout_s=10))
    dock.remove(container.id, force=True)
    ended = waiting.result()
    assert isinstance(ended, ExitRecord)
    assert (ended.code, ended.ended_by) == (137, EndedBy.ENGINE)


def test_removed_of_one_that_never_ran_has_no_end(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("true",)))
    waiting = in_background(dock, lambda: dock.wait_for(container.id, WaitFor.REMOVED, timeout_s=10))
    dock.remove(container.id)
    assert waiting.result() is None


def test_restart_keeps_id_log_and_files_and_changes_the_process(dock: Engine) -> None:
    container = started(dock, "sh", "-c", "echo again >> /kept; cat /kept; exec sleep 100")
    assert next(dock.logs(container.id, follow=True)).text == "again"
    first = dock.inspect(container.id)
    again = dock.restart(container.id, 0)
    assert (again.id, again.state) == (first.id, State.RUNNING)
    assert again.pid != first.pid
    assert eventually(lambda: [line.text for line in dock.logs(container.id)] == ["again"] * 3)
    actions = [e.action for e in dock.events() if e.object_id == container.id]
    assert actions == ["create", "start", "kill", "die", "start", "restart"]


def test_restart_starts_what_does_not_run_and_resumes_what_is_paused(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "100")))
    first = dock.restart(container.id)
    assert first.state is State.RUNNING
    dock.pause(container.id)
    again = dock.restart(container.id, 0)
    assert again.state is State.RUNNING
    assert again.pid != first.pid


def test_a_stop_timeout_of_0_kills_at_once(dock: Engine) -> None:
    container = started(dock, *OBSTINATE, stop_timeout_s=0.0)
    began = time.monotonic()
    stopped = dock.stop(container.id)
    assert stopped.exit is not None
    assert (stopped.exit.code, stopped.exit.asked_signal) == (137, 9)
    assert time.monotonic() - began < 5


def test_a_stop_timeout_of_minus_1_waits_for_ever(dock: Engine) -> None:
    container = started(dock, *OBSTINATE, stop_timeout_s=-1)
    assert next(dock.logs(container.id, follow=True)).text == "up"
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(dock.stop, container.id)
        with pytest.raises(TimeoutError):
            stopping.result(timeout=0.5)
        assert dock.inspect(container.id).state is State.RUNNING
        dock.kill(container.id)
        assert stopping.result(timeout=10).state is State.EXITED


@pytest.mark.parametrize("wrong", [-2, -0.5, float("nan"), float("inf")])
def test_what_is_no_timeout_is_refused(dock: Engine, wrong: float) -> None:
    with pytest.raises(InvalidRequest):
        dock.create(ContainerSpec(image="busybox", command=("true",), stop_timeout_s=wrong))
    container = started(dock, "sleep", "100")
    for act in (dock.stop, dock.restart):
        with pytest.raises(InvalidRequest):
            act(container.id, wrong)
    assert dock.inspect(container.id).state is State.RUNNING


def test_a_container_is_renamed_whether_it_runs_or_not(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "100"), name="old"))
    for name in ("new", "newer"):
        dock.rename(container.id, name)
        found = dock.inspect(name)
        assert (found.id, found.spec.name) == (container.id, name)
        if found.state is State.CREATED:
            dock.start(name)
    with pytest.raises(NotFound):
        dock.inspect("old")
    events = [(e.name, e.detail) for e in dock.events() if e.action == "rename"]
    assert events == [("new", {"before": "old"}), ("newer", {"before": "new"})]
    dock.create(ContainerSpec(image="busybox", command=("true",), name="old"))  # the name is free


def test_a_name_is_one_containers(dock: Engine) -> None:
    for name in ("one", "two"):
        dock.create(ContainerSpec(image="busybox", command=("true",), name=name))
    with pytest.raises(AlreadyExists):
        dock.rename("one", "two")
    for wrong in ("", "-x", "a b", "../x"):
        with pytest.raises(InvalidRequest):
            dock.rename("one", wrong)
    assert {c.name for c in dock.containers()} == {"one", "two"}

    def rename(name: str) -> bool:
        try:
            dock.rename(name, "three")
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(rename, ("one", "two"))) == [False, True]


def test_who_ended_it_is_known(dock: Engine, run: Run) -> None:
    assert run("sh", "-c", "exit 3")[0].ended_by is EndedBy.ITSELF
    ended, _ = run("sh", "-c", "x=a; while true; do x=$x$x; done", limits=Limits(memory_bytes=16 << 20))
    assert (ended.ended_by, ended.oom_limit_bytes, ended.code) == (EndedBy.OOM, 16 << 20, 137)
    ended, _ = run("sh", "-c", "sh -c 'x=a; while true; do x=$x$x; done'; exit 3", limits=Limits(memory_bytes=16 << 20))
    assert (ended.ended_by, ended.oom_killed, ended.code) == (EndedBy.ITSELF, True, 3), "only its child was killed"
    container = started(dock, "sleep", "100")
    assert container.pid is not None
    os.kill(container.pid, signal.SIGKILL)
    ended = dock.wait(container.id, timeout_s=10)
    assert (ended.ended_by, ended.signal, ended.asked_signal) == (EndedBy.STRANGER, 9, None)
    container = started(dock, "sh", "-c", "trap 'exit 0' TERM; echo up; while true; do sleep 0.05; done")
    assert next(dock.logs(container.id, follow=True)).text == "up"
    stopped = dock.stop(container.id)
    assert stopped.exit is not None
    assert (stopped.exit.ended_by, stopped.exit.code) == (EndedBy.ENGINE, 0), "it was asked to, and left by itself"


@pytest.mark.parametrize(
    ("facts", "who"),
    [
        ({"code": None}, EndedBy.UNKNOWN),
        ({"code": 0}, EndedBy.ITSELF),
        ({"code": 0, "asked_signal": 1}, EndedBy.ITSELF),  # a reload of yesterday
        ({"code": 0, "asked_signal": 15}, EndedBy.ENGINE),
        ({"code": 143, "signal": 15, "asked_signal": 15}, EndedBy.ENGINE),
        ({"code": 137, "signal": 9, "asked_signal": 15}, EndedBy.STRANGER),
        ({"code": 137, "signal": 9, "oom_killed": True}, EndedBy.OOM),
        ({"code": 137, "signal": 9, "oom_killed": True, "asked_signal": 9}, EndedBy.ENGINE),
        ({"code": 139, "signal": 11, "oom_killed": True}, EndedBy.STRANGER),
    ],
)
def test_who_ended_it_follows_from_the_facts(facts: dict[str, object], who: EndedBy) -> None:
    record = ExitRecord(**{"signal": None, "oom_killed": False, "finished_at_ns": 1} | facts)  # type: ignore[arg-type]
    assert ended_by(record, 15) is who


def test_what_never_started_has_no_end_to_wait_for(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("true",)))
    with pytest.raises(WrongState):
        dock.wait_for(container.id, WaitFor.NOT_RUNNING)


def test_who_traces_a_first_process_holds_up_nobody(dock: Engine) -> None:
    """A process that ended is its tracer's until that has asked; ptrace(2)."""
    container = started(dock, "sleep", "1000")
    assert container.pid is not None
    assert ctypes.CDLL(None).ptrace(PTRACE_SEIZE, container.pid, None, None) == 0
    try:
        dock.kill(container.id)
        ended = dock.wait(container.id, timeout_s=20)
        assert ended.code in (137, None), "the kernel tells nobody else of it yet"
        assert dock.start(container.id).state is State.RUNNING
    finally:
        os.waitpid(container.pid, WALL)
    dock.remove(container.id, force=True)


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process has so many open that the next has a number which select(2) does not take."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    with ExitStack() as stack:
        for _ in range(1100):
            stack.callback(os.close, os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_files")
def test_who_has_a_thousand_files_open_waits_and_follows_all_the_same(dock: Engine) -> None:
    spec = ContainerSpec(image="busybox", command=("sh", "-c", "echo one; sleep 0.2; echo two; read word"), stdin=True)
    container = dock.start(dock.create(spec).id)
    lines = dock.logs(container.id, follow=True)
    assert [next(lines).text, next(lines).text] == ["one", "two"]
    lines.close()
    with dock.exec(container.id, ExecSpec(("sh", "-c", "sleep 0.2; exit 3"))) as execution:
        assert execution.wait(10) == 3
    with pytest.raises(Unavailable):
        dock.wait_for(container.id, WaitFor.NEXT_EXIT, timeout_s=0.1)
    dock.stop(container.id, timeout_s=0)
    assert dock.wait(container.id, timeout_s=10).code == 137
