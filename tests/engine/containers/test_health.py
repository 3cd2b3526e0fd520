"""Health checks: what they find, of which run, and what becomes known of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine import (
    Container,
    ContainerSpec,
    Engine,
    ExecSpec,
    HealthCheck,
    HealthResult,
    RestartPolicy,
    State,
)
from engine.cgroups import manager
from tests.conftest import eventually, wait_readable

pytestmark = pytest.mark.one_engine


def test_health_goes_from_starting_to_healthy_to_unhealthy_and_back(dock: Engine) -> None:
    check = HealthCheck(("sh", "-c", "echo looked; read a < /ok && [ $a = ok ]"), interval_s=0.1, retries=3)
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "100"), health=check))
    dock.start(container.id)
    health = dock.inspect(container.id).health
    assert health is not None
    assert health.status == "starting"
    assert eventually(lambda: status(dock, container) == "unhealthy", timeout_s=10)
    write(dock, container, "ok")
    assert eventually(lambda: status(dock, container) == "healthy", timeout_s=10)
    assert eventually(lambda: len(results(dock, container)) == 5)
    health = dock.inspect(container.id).health
    assert health is not None
    assert health.failing_streak == 0
    assert health.results[-1].output == "looked\n"
    write(dock, container, "")
    assert eventually(lambda: status(dock, container) == "unhealthy", timeout_s=10)
    dock.remove(container.id, force=True)
    told = [e.detail["status"] for e in dock.events() if e.action == "health_status" and e.object_id == container.id]
    assert told == ["unhealthy", "healthy", "unhealthy"]


def test_what_its_checks_found_is_known_until_it_is_started_again(dock: Engine) -> None:
    check = HealthCheck(("sh", "-c", "echo so; exit 1"), interval_s=0.1, retries=1)
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "100"), health=check))
    dock.start(container.id)
    assert eventually(lambda: status(dock, container) == "unhealthy")
    dock.stop(container.id, timeout_s=0)
    dock.tidy()
    ended = dock.inspect(container.id)
    assert ended.health is not None
    assert (ended.state, ended.health.status, ended.health.results[-1].output) == (State.EXITED, "unhealthy", "so\n")
    assert dock.listing(states=["unhealthy"]).matching == 0
    began_ns = dock.start(container.id).started_at_ns or 0
    assert eventually(lambda: results(dock, container))
    assert min(result.started_at_ns for result in results(dock, container)) > began_ns
    dock.stop(container.id, timeout_s=0)
    dock.remove(container.id)
    assert eventually(lambda: not list(dock.paths.shims.glob(f"{container.id}*")))


def test_a_check_that_ends_with_its_container_has_not_failed(dock: Engine) -> None:
    check = HealthCheck(("sleep", "30"), interval_s=0.05, retries=1)
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "100"), health=check))
    for _ in range(8):  # of two, one was told as unhealthy
        dock.start(container.id)
        assert eventually(lambda: dock.counters(container.id).pids == 2), "it is being checked"
        dock.stop(container.id, timeout_s=0)
        assert dock.inspect(container.id).health is None
    assert not dock.health_changes(container.id)


def test_while_it_waits_for_its_next_run_its_checks_are_known_and_what_nobody_saw_is_told(dock: Engine) -> None:
    check = HealthCheck(("false",), interval_s=0.05, retries=1)
    restart = RestartPolicy.parse("on-failure")
    command = ("sh", "-c", "sleep 0.7; exit 1")
    made = dock.create(ContainerSpec(image="busybox", command=command, health=check, restart=restart))
    container = dock.start(made.id)

    def rests() -> bool:
        now = dock.inspect(container.id)
        return now.state is State.RESTARTING and now.health is not None and now.health.status == "unhealthy"

    assert eventually(rests, 20)
    dock.stop(container.id, timeout_s=0)
    dock.update(container.id, restart=RestartPolicy())
    again = dock.start(container.id)
    pidfd = os.pidfd_open(again.pid or 0)
    assert wait_readable(pidfd, 20), "nobody looks while it runs"
    os.close(pidfd)
    dock.wait(container.id, timeout_s=20)
    (change, *_more) = dock.health_changes(container.id)
    ended = dock.inspect(container.id)
    assert ended.exit is not None
    assert (again.started_at_ns or 0) < change.time_ns < ended.exit.finished_at_ns


def test_checks_of_a_run_that_its_policy_began_are_its_own(dock: Engine) -> None:
    check = HealthCheck(("true",), interval_s=0.05)
    spec = ContainerSpec(
        image="busybox",
        command=("sh", "-c", "sleep 1; exit 1"),
        health=check,
        restart=RestartPolicy.parse("on-failure:1"),
    )
    container = dock.start(dock.create(spec).id)

    def again() -> bool:
        return dock.inspect(container.id).state is State.RUNNING and dock.inspect(container.id).restarts == 1

    assert eventually(lambda: again() and results(dock, container))
    now = dock.inspect(container.id)
    assert min(result.started_at_ns for result in results(dock, container)) > (now.started_at_ns or 0)
    assert (container.started_at_ns or 0) < (now.started_at_ns or 0)
    dock.wait(container.id, timeout_s=20)


def results(dock: Engine, container: Container) -> tuple[HealthResult, ...]:
    health = dock.inspect(container.id).health
    return health.results if health else ()


def write(dock: Engine, container: Container, text: str) -> None:
    with dock.exec(container.id, ExecSpec(("sh", "-c", f"echo {text} > /ok"))) as execution:
        assert execution.wait(10) == 0


def status(dock: Engine, container: Container) -> str:
    health = dock.inspect(container.id).health
    return health.status if health else ""


def test_a_check_that_hangs_is_killed_and_one_that_is_missing_fails(dock: Engine) -> None:
    for test, code, words in (
        (("sh", "-c", "echo began; sleep 100"), None, "began\ntook longer than 0.3 s"),
        (("no-such-program",), 127, "not in the image"),
    ):
        check = HealthCheck(test, interval_s=0.1, timeout_s=0.3, retries=1)
        container = dock.create(ContainerSpec(image="busybox", command=("sleep", "100"), health=check))
        dock.start(container.id)
        assert eventually(lambda c=container: status(dock, c) == "unhealthy", timeout_s=10)
        health = dock.inspect(container.id).health
        assert health is not None
        assert health.results[0].code == code
        assert words in health.results[0].output
        assert dock.inspect(container.id).state is State.RUNNING
        dock.stop(container.id, timeout_s=0)


def peak_kib() -> int:
    """The most memory that this process had at once."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])


def test_a_check_that_somebody_runs_is_cut_off_whatever_it_writes(dock: Engine) -> None:
    """Not when it has ended: until then it would have filled the memory of who asked."""
    check = HealthCheck(("yes",), interval_s=1000, timeout_s=1)
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "100"), health=check))
    dock.start(container.id)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, proc(5)
    before_kib = peak_kib()
    result = dock.check_health(container.id)
    assert (result.code, result.output) == (None, "took too long, and was killed")
    assert peak_kib() - before_kib < 64 * 1024
    dock.remove(container.id, force=True)


def test_a_check_that_was_paused_with_its_container_is_not_too_slow(dock: Engine) -> None:
    check = HealthCheck(("sleep", "0.5"), interval_s=0.1, timeout_s=2, retries=1)
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "100"), health=check))
    group = manager.group(dock.instance, dock.start(container.id).id)
    while True:
        assert eventually(lambda: len(group.pids()) > 1)
        dock.pause(container.id)
        if len(group.pids()) > 1:  # it was not just ending
            break
        dock.unpause(container.id)
    threading.Event().wait(3)  # longer than it may take
    dock.unpause(container.id)
    assert eventually(lambda: len(group.pids()) == 1)
    assert eventually(lambda: len(group.pids()) > 1)  # the next one: so the first is told of
    health = dock.inspect(container.id).health
    assert health is not None
    assert {result.code for result in health.results} == {0}
    assert health.results[-1].finished_at_ns - health.results[-1].started_at_ns > 3e9
    dock.remove(container.id, force=True)


def test_in_the_start_period_failures_do_not_count_and_success_ends_it(dock: Engine) -> None:
    check = HealthCheck(
        ("sh", "-c", "read a < /ok && [ $a = ok ]"),
        interval_s=0.1,
        start_period_s=100,
        start_interval_s=0.05,
        retries=1,
    )
    script = "sleep 1; echo ok > /ok; sleep 1; echo > /ok; sleep 100"
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script), health=check))
    dock.start(container.id)
    seen = [status(dock, container)]

    def unhealthy() -> bool:
        now = status(dock, container)
        if seen[-1] != now:
            seen.append(now)
        return now == "unhealthy"

    assert eventually(unhealthy, timeout_s=15)
    assert seen == ["starting", "healthy", "unhealthy"]
    dock.remove(container.id, force=True)


def test_a_check_that_is_turned_off_is_none(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "100"), health=HealthCheck(())))
    assert container.spec.health is None
    assert dock.start(container.id).health is None
