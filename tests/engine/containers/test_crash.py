"""kill -9 of what serves: containers, their lines and their exit codes stay."""

from __future__ import annotations

import functools
import os
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import Container, ContainerSpec, Engine, RestartPolicy, State
from engine.cgroups import manager
from engine.errors import BrokeOff, Busy, KernelError, Unavailable
from engine.launcher.client import LauncherClient
from engine.linux import files, process
from tests.conftest import children, eventually, name_of, shims, stand_still
from tests.engine.conftest import groups
from tests.engine.killing import adopted, ask_and_die, kill, kill_keepers

pytestmark = pytest.mark.one_engine

TRIES = 40
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


TOP = Path(__file__).resolve().parents[3]


def up(dock: Engine) -> None:
    """Have a launcher, and keep it: one that nobody needs would end, on a busy host before the next one asks for it."""
    dock.start(dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)


@pytest.mark.parametrize("victims", ["launcher", "web", "both"])
def test_containers_lose_nothing_when_their_keepers_are_killed(dock: Engine, victims: str) -> None:
    containers = [
        dock.create(ContainerSpec(image="busybox", command=("sh", "-c", COMMAND % (LINES, number))))
        for number in range(1, COUNT + 1)
    ]
    up(dock)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(dock.config.root), str(dock.config.run), *(c.id for c in containers)],
        stdout=subprocess.PIPE,
        cwd=TOP,
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
            times = [line.time_ns for line in dock.logs(container.id)]
            assert times == sorted(times)
            assert [line.text for line in dock.logs(container.id)] == [f"line {i}" for i in range(LINES)]
        web.wait(30)
    again = dock.create(ContainerSpec(image="busybox", command=("sleep", "100")))
    assert dock.start(again.id).state is State.RUNNING, "a new launcher serves"


@pytest.mark.parametrize("moment", ["before the answer", "after the answer"])
def test_a_run_whose_starter_was_killed_is_known_with_its_lines_and_its_exit_code(dock: Engine, moment: str) -> None:
    script = "[ -e /again ] && exit 5; touch /again; echo first; exit 3"
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script)))
    up(dock)
    for code in (3, 5):  # the second run must not be taken for the first
        before = dock.inspect(container.id).started_at_ns or 0
        assert ask_and_die(dock, container.id, moment) == -signal.SIGKILL
        assert eventually(lambda: (dock.inspect(container.id).started_at_ns or 0) > before)  # noqa: B023
        assert dock.wait(container.id, timeout_s=10).code == code
        assert dock.inspect(container.id).state is State.EXITED
    assert [line.text for line in dock.logs(container.id)] == ["first"]
    told = [(event.action, event.detail.get("code")) for event in dock.events() if event.object_id == container.id]
    assert told == [("create", None), ("start", None), ("die", 3), ("start", None), ("die", 5)]


def test_a_run_whose_starter_was_killed_is_known_between_its_end_and_its_exit_record(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    up(dock)
    assert ask_and_die(dock, container.id, "after the answer") == -signal.SIGKILL
    record = dock._records.running(container.id)
    assert record is not None
    stand_still(record["shim_pid"])  # its exit record has to wait
    os.kill(record["pid"], signal.SIGKILL)
    assert eventually(lambda: dock._records.running(container.id) is None)
    try:
        assert eventually(lambda: dock.inspect(container.id).state is State.EXITED)  # who started it lets go
        assert dock.inspect(container.id).exit is None
    finally:
        os.kill(record["shim_pid"], signal.SIGCONT)
    assert dock.wait(container.id, timeout_s=10).code == 137


def test_who_holds_its_lock_knows_of_a_run_that_nobody_has_written_down_and_all_of_which_were_killed(
    dock: Engine,
) -> None:
    """Else that start, or that tidying up, would take it for what was before, and clear it away unsaid."""
    script = "[ -e /again ] && sleep 1000; touch /again; exit 3"
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script)))
    dock.start(container.id)
    assert dock.wait(container.id, timeout_s=10).code == 3
    up(dock)
    assert ask_and_die(dock, container.id, "after the answer") == -signal.SIGKILL
    record = dock._records.running(container.id)
    assert record is not None
    kill_keepers(dock)
    kill(record["shim_pid"])
    kill(record["pid"])
    with dock._records.locked(container) as (found, _):
        assert (found.state, found.started_at_ns) == (State.EXITED, record["started_at_ns"])
        assert found.exit is not None
        assert found.exit.code is None


def test_a_run_that_was_over_before_the_answer_to_its_start_was_lost_is_not_run_again(
    dock: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "echo once; exit 3")))
    ask = LauncherClient.call

    def lose(client: LauncherClient, op: str, request: dict[str, object], locks: list[int]) -> None:
        ask(client, op, request, locks)
        assert eventually(lambda: dock.paths.exit_record(container.id).stat().st_size)
        assert eventually(lambda: not dock.paths.run_record(container.id).exists())
        raise BrokeOff("its starter was killed")

    monkeypatch.setattr(LauncherClient, "call", lose)
    dock.start(container.id)
    assert dock.wait(container.id, timeout_s=10).code == 3
    assert [line.text for line in dock.logs(container.id)] == ["once"]
    told = [event.action for event in dock.events() if event.object_id == container.id]
    assert told == ["create", "start", "die"]


def test_a_start_that_takes_longer_than_its_asker_waits_goes_on_and_is_not_made_twice(
    dock: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "echo once; sleep 1000")))
    up(dock)
    launcher = answering(str(dock.paths.launcher_socket))
    assert launcher
    ask = LauncherClient.call
    monkeypatch.setattr(LauncherClient, "call", functools.partialmethod(ask, timeout_s=0.5))
    stopped = [launcher]
    try:
        stand_still(launcher)  # first, so that it has no further child meanwhile
        # One that it had just now has not yet its own name.
        for spare in [pid for pid in children(launcher) if name_of(pid) in ("wharfie-spare", "wharfie-launch")]:
            stopped.append(spare)
            stand_still(spare)
            stopped += children(spare)
        stand_still(*stopped)
        with pytest.raises(Unavailable, match="not answered in"):
            dock.start(container.id)
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):  # `answering` has used up one child ahead, which may have ended by now
                os.kill(pid, signal.SIGCONT)
    assert eventually(lambda: dock.inspect(container.id).state is State.RUNNING)
    assert eventually(lambda: [line.text for line in dock.logs(container.id)] == ["once"])
    before = dock._records.shim(container.id)
    assert before is not None
    kill(before)
    assert adopted(dock, container, before)


def test_who_gives_up_waiting_for_a_start_takes_nothing_away_from_it(
    dock: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = dock.create(
        ContainerSpec(image="busybox", command=("sleep", "1000"), restart=RestartPolicy.parse("always"))
    )
    ask = LauncherClient.call

    def interrupt(client: LauncherClient, op: str, request: dict[str, object], locks: list[int]) -> None:
        ask(client, op, request, locks)
        raise KeyboardInterrupt

    monkeypatch.setattr(LauncherClient, "call", interrupt)
    with pytest.raises(KeyboardInterrupt):
        dock.start(container.id)
    assert dock.inspect(container.id).state is State.RUNNING
    assert dock.paths.restart(container.id).exists()
    before = dock._records.shim(container.id)
    assert before is not None
    kill(before)
    assert adopted(dock, container, before)
    assert dock.stop(container.id, timeout_s=0).exit


def test_somebody_who_does_not_get_on_with_it_is_waited_for_so_long_and_holds_up_no_console(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("true",)))
    dock.paths.request(container.id).write_text("{}")  # of a start that hangs
    with files.locked(str(dock.paths.container_lock(container.id))):
        with pytest.raises(Busy, match="has not done yet"), dock._records.locked(container, wait_s=0.1):
            pass
        dock._lifecycle.tidy()
        assert dock.paths.request(container.id).exists()
    dock._lifecycle.tidy()
    assert not dock.paths.request(container.id).exists()


def test_a_start_waits_for_a_shim_that_is_about_to_say_how_the_last_run_ended(dock: Engine) -> None:
    container = dock.start(dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)
    record = dock._records.running(container.id)
    assert record is not None
    stand_still(record["shim_pid"])
    os.kill(record["pid"], signal.SIGKILL)
    assert eventually(lambda: dock.inspect(container.id).state is State.EXITED)
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(dock.start, container.id)
        with pytest.raises(TimeoutError):
            again.result(0.2)
        os.kill(record["shim_pid"], signal.SIGCONT)
        assert again.result(20).state is State.RUNNING
    told = [(event.action, event.detail.get("code")) for event in dock.events() if event.object_id == container.id]
    assert told == [("create", None), ("start", None), ("die", 137), ("start", None)]


def test_how_it_ended_is_known_though_somebody_else_has_removed_its_group(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    dock.start(container.id)
    record = dock._records.running(container.id)
    assert record is not None
    stand_still(record["shim_pid"])
    os.kill(record["pid"], signal.SIGKILL)
    manager.clear(manager.group(dock.instance, container.id))
    os.kill(record["shim_pid"], signal.SIGCONT)
    assert dock.wait(container.id, timeout_s=10).code == 137


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told yet"])
def test_a_run_that_ended_while_its_starter_is_still_on_its_way_out_is_no_container_that_never_ran(
    dock: Engine, told: bool
) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    up(dock)
    assert ask_and_die(dock, container.id, "after the answer") == -signal.SIGKILL
    with files.locked(str(dock.paths.container_lock(container.id))):  # as a starter holds it, which has just answered
        record = dock._records.running(container.id)
        assert record is not None
        if not told:
            stand_still(record["shim_pid"])
        os.kill(record["pid"], signal.SIGKILL)
        assert eventually(lambda: dock._records.running(container.id) is None)
        if told:
            assert eventually(lambda: dock.inspect(container.id).state is State.EXITED)
        else:
            assert dock.inspect(container.id).state is State.RUNNING
            os.kill(record["shim_pid"], signal.SIGCONT)
        assert dock.wait(container.id, timeout_s=10).code == 137


def test_a_start_whose_makers_are_killed_on_the_way_leaves_the_old_state_or_the_new(dock: Engine) -> None:
    for _ in range(2):  # the first brings the launcher up, the second says how long a start takes here and now
        up = dock.create(ContainerSpec(image="busybox", command=("true",)))
        began_ns = time.monotonic_ns()
        dock.start(up.id)
        took_ns = time.monotonic_ns() - began_ns
    launcher = answering(str(dock.paths.launcher_socket))
    assert launcher
    outcomes = set()
    for step in range(TRIES):
        container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "echo run; exec sleep 1000")))
        assert eventually(lambda: not shims(launcher)), "the shim before is gone"
        shim, starter = ready_spare(launcher)
        with ThreadPoolExecutor(1) as pool:
            until_ns = time.monotonic_ns() + step * took_ns // (TRIES // 2)
            started = pool.submit(dock.start, container.id)
            while time.monotonic_ns() < until_ns:
                select.select((), (), (), 0)  # each try hits the start at another place, and lets it go on meanwhile
            if step >= TRIES - 3:
                started.result(30)  # however slow the host is: some are hit after the answer
            for pid in ((shim,), (starter,), (shim, starter))[step % 3]:
                try:
                    kill(pid)
                except ProcessLookupError:  # the starter has done its work
                    continue
            try:
                started.result(30)
                expected = State.RUNNING
            except (Unavailable, KernelError):
                expected = State.CREATED
        outcomes.add((step % 3, expected))
        assert dock.inspect(container.id).state is expected, (step, dock.inspect(container.id))
        if expected is State.CREATED:
            assert not groups(dock, container.id)
            dock.start(container.id)
        assert dock.inspect(container.id).state is State.RUNNING
        if step % 3 != 1:  # a shim ends what its starter was killed over, and that may have said so by then
            assert eventually(lambda c=container: [line.text for line in dock.logs(c.id)] == ["run"]), "it ran once"
        dock.remove(container.id, force=True)
        assert eventually(lambda: not list(dock.paths.shims.iterdir()))
        assert not groups(dock, container.id)
    # Who loses its starter is started by another one; who loses its shim is told.
    assert {(who, State.RUNNING) for who in range(3)} | {(0, State.CREATED)} <= outcomes, "before and after"


def ready_spare(launcher: int) -> tuple[int, int]:
    """A shim to be, and its starter; a starter whose shim was killed has that name too.

    Where containers are not born in their groups it has an init already.
    """
    found: list[tuple[int, int]] = []

    def look() -> list[tuple[int, int]]:
        for pid in by_age(children(launcher)):
            below = by_age(children(pid))
            ready = name_of(pid) == "wharfie-spare" and len(below) == (1 if manager.births() else 2)
            if ready:
                found.append((pid, below[0]))
        return found

    assert eventually(look), "another one is ahead"
    return found[-1]


def by_age(pids: list[int]) -> list[int]:
    """Those that live, the oldest first; numbers are used again."""
    ages = [(process.start_time(pid), pid) for pid in pids]
    return [pid for began, pid in sorted((began, pid) for began, pid in ages if began is not None)]


def test_starts_under_which_the_launcher_is_killed_happen_or_not(dock: Engine) -> None:
    containers = [dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"))) for _ in range(12)]
    dock.start(containers.pop().id)
    launcher = answering(str(dock.paths.launcher_socket))
    assert launcher

    def start(container: Container) -> State:
        try:
            return dock.start(container.id).state
        except Unavailable:
            return State.CREATED

    with ThreadPoolExecutor(4) as pool:
        started = [pool.submit(start, container) for container in containers]
        started[2].result(30)
        kill(launcher)
        said = [future.result(30) for future in started]
    for container, state in zip(containers, said, strict=True):
        # A start that could not be confirmed may have happened; one that was confirmed has.
        assert dock.inspect(container.id).state is state or state is State.CREATED
        if dock.inspect(container.id).state is State.CREATED:
            dock.start(container.id)
        dock.remove(container.id, force=True)
        assert not groups(dock, container.id)
    assert State.RUNNING in said
