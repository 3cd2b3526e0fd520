"""What the list counts follows what happens, whoever does it and whether or not an event tells."""

from __future__ import annotations

import os
import signal

import pytest

from engine import ContainerSpec, Engine, HealthCheck
from engine.containers.census import ASKED
from engine.errors import WrongState
from engine.linux import pidfds, process
from engine.shim.health import UNHEALTHY
from tests.conftest import eventually, stand_still, wait_readable


def made(engine: Engine, name: str, **options: object) -> str:
    spec = ContainerSpec(image="busybox", name=name, command=("sleep", "1000"), **options)  # type: ignore[arg-type]
    return engine.start(engine.create(spec).id).id


def test_what_another_process_does_is_counted(dock: Engine) -> None:
    with Engine(dock.config) as other:
        first = made(other, "first")
        assert dock.listing().counts == {"running": 1}
        other.pause(first)
        assert dock.listing().counts["paused"] == 1
        other.kill(first)
        other.wait(first)
        assert dock.listing(states=["exited"]).matching == 1, "who kills one has asked for its end"
        other.remove(first)
        assert dock.listing().matching == 0


def test_one_that_is_unhealthy_is_found(dock: Engine) -> None:
    check = HealthCheck(("false",), interval_s=0.05, retries=1)
    made(dock, "ill", health=check)
    made(dock, "well")
    assert eventually(lambda: [c.name for c in dock.listing(states=[UNHEALTHY]).containers] == ["ill"], timeout_s=10)
    assert dock.listing().counts == {"running": 1, UNHEALTHY: 1}


def test_one_whose_check_has_not_answered_yet_is_starting(dock: Engine) -> None:
    made(dock, "slow", health=HealthCheck(("true",), interval_s=60))
    assert dock.listing().counts == {"starting": 1}


def test_one_that_ended_badly_is_found_whoever_has_read_its_end(dock: Engine) -> None:
    for name, command in (("well", ("true",)), ("ill", ("sh", "-c", "exit 3"))):
        dock.start(dock.create(ContainerSpec(image="busybox", name=name, command=command)).id)
    assert eventually(lambda: dock.listing(count=0).counts == {"exited": 1, "failed": 1})
    with Engine(dock.config) as other:
        assert [each.name for each in other.listing(states=["failed"]).containers] == ["ill"]
    dock.start(dock.inspect("ill").id)
    assert eventually(lambda: dock.listing(states=["failed", "broken"]).matching == 1)


def test_a_death_that_nobody_wrote_down_is_found_by_asking_on(dock: Engine) -> None:
    """Launcher, keeper and shim cannot tell: they are stopped. No event, no record changes."""
    ids = [made(dock, f"box-{number}") for number in range(3)]
    assert dock.listing(states=["running"]).matching == len(ids) < ASKED
    victim = dock.inspect(ids[0])
    shim = dock._records.shim(victim.id)
    assert shim is not None
    assert victim.pid is not None
    start_time = process.start_time(victim.pid)
    assert start_time is not None
    pidfd = pidfds.opened(victim.pid, start_time)
    assert pidfd is not None
    stand_still(shim)
    try:
        os.kill(victim.pid, signal.SIGKILL)
        assert wait_readable(pidfd, timeout_s=10)
        assert eventually(lambda: dock.listing(states=["running"]).matching == 2, timeout_s=5)
    finally:
        os.close(pidfd)
        os.kill(shim, signal.SIGCONT)


@pytest.mark.parametrize("step", ["_database.rows", "_records.now"])
def test_a_look_that_fails_forgets_nothing_for_the_next_one(
    dock: Engine, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    made(dock, "one")
    assert dock.listing().counts["running"] == 1
    made(dock, "two")
    held, _, act = step.partition(".")

    def busy(*_: object) -> None:
        raise WrongState("the database is busy", hint="do it again")

    with monkeypatch.context() as patched:
        patched.setattr(getattr(dock._census, held), act, busy)
        with pytest.raises(WrongState):
            dock.listing()
    assert dock.listing().counts["running"] == 2


def test_orders_and_windows(dock: Engine) -> None:
    for name in ("b", "c", "a"):
        dock.create(ContainerSpec(image="busybox", name=f"{name}{name}", command=("true",)))
    assert [each.name for each in dock.listing(count=2).containers] == ["aa", "cc"]
    assert [each.name for each in dock.listing(order="-created").containers] == ["bb", "cc", "aa"]
    assert [each.name for each in dock.listing(order="-name", first=1, count=1).containers] == ["bb"]
    figures = {dock.inspect("bb").id: 2.0, dock.inspect("aa").id: 3.0}
    assert [each.name for each in dock.listing(figures=figures).containers] == ["aa", "bb", "cc"]


def test_an_end_that_nobody_has_looked_at_counts_among_what_has_come_since(dock: Engine) -> None:
    """Who asks how far the events are must hear of it: a page that was made while it ran, a moment before."""
    container = dock.start(dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"))).id)
    before = dock.last_event()
    assert container.pid
    os.kill(container.pid, signal.SIGKILL)
    assert eventually(lambda: not dock.paths.run_record(container.id).exists())
    assert [event.action for event in dock.events()][-2:] == ["create", "start"], "nobody has looked"
    assert dock.last_event() == before + 1
    assert dock.events()[-1].action == "die"
