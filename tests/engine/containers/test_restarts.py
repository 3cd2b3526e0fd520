"""Restart policies: the shim starts a container again, whoever else is there."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import (
    Container,
    ContainerSpec,
    Engine,
    Limits,
    RestartMode,
    RestartPolicy,
    State,
    acting,
)
from engine.errors import InvalidRequest, WrongState
from engine.events import EventFilter
from engine.shim.restarts import Pauses
from engine.shim.supervise import Supervisor
from engine.storage import instance
from tests.conftest import eventually, wait_readable
from tests.engine.conftest import groups
from tests.engine.killing import fall, shim

pytestmark = pytest.mark.one_engine

COUNT = "echo run; read n 2>/dev/null < /n || n=0; n=$((n+1)); echo $n > /n; "


def made(dock: Engine, script: str, restart: str, **more: object) -> Container:
    spec = ContainerSpec(
        image="busybox",
        command=("sh", "-c", script),
        restart=RestartPolicy.parse(restart),
        **more,  # type: ignore[arg-type]
    )
    return dock.create(spec)


def events(dock: Engine, container: Container) -> list[str]:
    return [event.action for event in dock.events() if event.object_id == container.id]


def ready(dock: Engine, container: Container, runs: int) -> None:
    assert eventually(lambda: len(list(dock.logs(container.id))) == runs)


@pytest.mark.parametrize(
    ("policy", "script", "code", "runs"),
    [
        ("no", "exit 3", 3, 1),
        ("on-failure", "exit 0", 0, 1),
        ("on-failure:2", "exit 3", 3, 3),
        ("on-failure", "[ $n -lt 3 ] && exit 7; exit 0", 0, 3),
    ],
)
def test_it_runs_as_often_as_its_policy_says(dock: Engine, policy: str, script: str, code: int, runs: int) -> None:
    container = made(dock, COUNT + script, policy)
    dock.start(container.id)
    assert dock.wait(container.id, timeout_s=20).code == code
    found = dock.inspect(container.id)
    assert (found.state, found.restarts) == (State.EXITED, runs - 1)
    assert [line.text for line in dock.logs(container.id)] == ["run"] * runs, "and its log goes on"
    assert events(dock, container) == ["create", *["start", "die"] * runs], "each run is told of, in order"
    told = dock.event_log.find(EventFilter(object_id=container.id))[-2::-1]
    assert [event.detail.get("again", False) for event in told[::2]] == [False] + [True] * (runs - 1)
    assert not dock.paths.restart(container.id).exists()
    assert eventually(lambda: not list(dock.paths.shims.glob(f"{container.id}*")))


def test_what_its_policy_did_is_told_with_its_time_and_is_nobodys_act(dock: Engine) -> None:
    """Whoever looks first finds it out, perhaps hours later: neither that moment nor that person has done it."""
    container = made(dock, COUNT + "[ $n -lt 3 ] && exit 7; exit 0", "on-failure")
    with acting("captain"):
        dock.start(container.id)
        assert eventually(lambda: (dock.paths.exit_record(container.id)).stat().st_size > 0)
        time.sleep(1)
        looked_ns = time.time_ns()
        assert dock.wait(container.id, timeout_s=20).code == 0
        told = dock.event_log.find(EventFilter(object_id=container.id))[-2::-1]
    assert [event.action for event in told] == ["start", "die"] * 3
    assert [event.by for event in told] == ["captain", "", "", "", "", ""]
    times = [event.time_ns for event in told]
    assert times == sorted(times)
    assert times[-1] < looked_ns - 900_000_000


def test_one_that_is_to_run_always_is_stopped_for_good(dock: Engine) -> None:
    container = made(dock, f"{COUNT} [ $n -lt 3 ] || exec sleep 100", "always")
    dock.start(container.id)
    assert eventually(lambda: dock.inspect(container.id).restarts == 2 and dock.inspect(container.id).pid, timeout_s=10)
    first = dock.inspect(container.id).pid
    watched = os.pidfd_open(shim(dock, container))
    dock.stop(container.id, timeout_s=0)
    assert wait_readable(watched, 10), "who would start it again has ended"
    os.close(watched)
    found = dock.inspect(container.id)
    assert found.state is State.EXITED
    assert found.exit is not None
    assert found.exit.code == 137
    assert dock.start(container.id).pid != first, "and can be started again"
    dock.remove(container.id, force=True)


def test_while_it_waits_it_says_so_and_can_be_stopped_restarted_and_removed(dock: Engine) -> None:
    container = made(dock, f"{COUNT} exit 9", "always")
    dock.start(container.id)
    assert eventually(lambda: dock.inspect(container.id).restarts >= 4, timeout_s=15)  # 0.1+0.2+0.4, now 0.8 s
    assert eventually(lambda: dock.inspect(container.id).state is State.RESTARTING, timeout_s=5)
    found = dock.inspect(container.id)
    assert found.exit is not None
    assert found.exit.code == 9
    assert found.pid is None
    assert dock.listing(states=[State.RESTARTING]).matching == 1
    for act in (dock.start, dock.pause, dock.kill):
        with pytest.raises(WrongState):
            act(container.id)
    began = time.monotonic()
    stopped = dock.stop(container.id)
    assert time.monotonic() - began < 0.7, "it does not wait for the pause to end"
    assert stopped.state is State.EXITED
    assert stopped.exit is not None
    assert stopped.exit.code == 9
    assert dock.restart(container.id).restarts <= 1
    dock.remove(container.id, force=True)
    assert eventually(lambda: not list(dock.paths.shims.glob(f"{container.id}*")))


def test_pauses_grow_and_a_long_run_begins_them_anew() -> None:
    pauses = Pauses()
    assert [round(pauses.after(1), 1) for _ in range(12)] == [
        0.1,
        0.2,
        0.4,
        0.8,
        1.6,
        3.2,
        6.4,
        12.8,
        25.6,
        51.2,
        60,
        60,
    ]
    assert pauses.after(10) == 0.1
    assert pauses.after(9.9) == 0.2


def test_a_signal_that_is_no_stop_does_not_end_the_policy(dock: Engine) -> None:
    container = made(dock, "trap 'exit 5' USR1; echo run; sleep 100 & wait", "unless-stopped")
    dock.start(container.id)
    ready(dock, container, 1)
    dock.kill(container.id, "USR1")
    assert eventually(lambda: dock.inspect(container.id).restarts == 1 and dock.inspect(container.id).pid, timeout_s=10)
    dock.kill(container.id, "KILL")
    assert dock.wait(container.id, timeout_s=10).code == 137
    assert dock.inspect(container.id).restarts == 1


def test_a_policy_and_limits_can_be_changed_while_it_runs(dock: Engine) -> None:
    container = made(dock, "trap 'exit 5' USR1; echo run; sleep 100 & wait", "no")
    dock.start(container.id)
    ready(dock, container, 1)
    dock.update(container.id, Limits(pids=77), RestartPolicy.parse("always"))
    dock.kill(container.id, "USR1")
    assert eventually(lambda: dock.inspect(container.id).restarts == 1 and dock.inspect(container.id).pid, timeout_s=10)
    limits = [path for group in groups(dock, container.id) if (path := group / "pids.max").exists()]
    assert [path.read_text() for path in limits] == ["77\n"], "what was changed holds for the next run too"
    dock.update(container.id, restart=RestartPolicy())
    ready(dock, container, 2)
    dock.kill(container.id, "USR1")
    assert dock.wait(container.id, timeout_s=10).code == 5


def test_one_that_cannot_be_started_again_is_tried_again_and_says_why(dock: Engine) -> None:
    container = made(dock, f"{COUNT} exit 1", "on-failure:3")
    layer = dock.paths.layer(dock.image("busybox").layers[-1].diff_id)
    away = layer.with_name("away")
    dock.start(container.id)
    layer.rename(away)
    try:
        ended = dock.wait(container.id, timeout_s=20)
    finally:
        away.rename(layer)
    assert ended.code == 125
    assert "could not be started again" in ended.reason
    assert dock.start(container.id).state in (State.RUNNING, State.RESTARTING, State.EXITED)
    dock.remove(container.id, force=True)


def test_tries_that_come_to_nothing_are_no_long_runs(tmp_path: Path) -> None:
    """Else it would be tried ten times a second for ever, once it had run for long."""
    seconds: list[float] = []
    (tmp_path / "restart").write_text("always\n")

    class Shim(Supervisor):
        _request = {"restart": str(tmp_path / "restart")}

        def __init__(self) -> None:  # of a container that has run for an hour
            self._began = time.monotonic() - 3600
            self._pauses = SimpleNamespace(after=lambda ran_s: seconds.append(ran_s) or 0.0)
            self._restarts, self._resting = 0, False

        def _rest(self, ended: dict[str, Any], pause_s: float) -> None:
            self._resting = len(seconds) < 4

        def _again(self) -> dict[str, Any]:
            return {"code": 125}

        def _finish(self, ended: dict[str, Any]) -> None:
            return

    Shim().run({"code": 1})
    assert seconds[0] > 3599
    assert max(seconds[1:]) < 60


def test_policies_are_read_as_docker_writes_them() -> None:
    for text in ("no", "always", "unless-stopped", "on-failure", "on-failure:5"):
        assert str(RestartPolicy.parse(text)) == text
    for text in ("", "never", "always:3", "on-failure:", "on-failure:-1", "on-failure:x"):
        with pytest.raises(InvalidRequest, match="restart policy"):
            RestartPolicy.parse(text)


def test_after_a_reboot_those_run_that_are_to(dock: Engine) -> None:
    script = "exec sleep 100"
    policies = ("no", "on-failure", "always", "unless-stopped")
    running = {policy: made(dock, script, policy) for policy in policies}
    stopped = {policy: made(dock, script, policy) for policy in policies}
    for container in (*running.values(), *stopped.values()):
        dock.start(container.id)
    for container in stopped.values():
        dock.stop(container.id, timeout_s=0)
    dock.revive()
    assert len(dock.running()) == 4, "no reboot, so nothing to do"
    fall(dock, list(running.values()))
    dock.revive()
    names = {container.id for container in dock.running()}
    wanted = {running["always"].id, running["unless-stopped"].id, stopped["always"].id}
    assert names == wanted
    dock.revive()
    assert {container.id for container in dock.running()} == wanted, "once"
    for container in (*running.values(), *stopped.values()):
        dock.remove(container.id, force=True)


def test_modes_are_dockers_words() -> None:
    assert {mode.value for mode in RestartMode} == {"no", "on-failure", "always", "unless-stopped"}


def test_runs_after_the_clock_was_set_back_are_known_all_the_same(dock: Engine) -> None:
    container = made(dock, COUNT + "exit $n", "no")
    dock.start(container.id)
    assert dock.wait(container.id, timeout_s=10).code == 1
    with dock._database.transaction() as connection:  # that run began tomorrow, as this clock now sees it
        connection.execute("UPDATE containers SET started_at_ns = started_at_ns + 86400000000000")
    dock.start(container.id)
    assert dock.wait(container.id, timeout_s=10).code == 2
    dock.update(container.id, restart=RestartPolicy.parse("on-failure:2"))
    dock.start(container.id)
    assert dock.wait(container.id, timeout_s=10).code == 5
    assert events(dock, container)[1:] == ["start", "die", "start", "die", "update", *["start", "die"] * 3]


def test_one_that_is_stopped_while_others_are_revived_stays_so(dock: Engine) -> None:
    container = made(dock, "exec sleep 100", "unless-stopped")
    dock.start(container.id)
    fall(dock, [container])
    dock.paths.boot.write_text("another boot")

    def start(found: Container) -> None:
        dock.stop(found.id)  # just before its turn
        dock._lifecycle.start(found, dock.image(found.image_id), wished=True)

    dock._restarting.revive(start)
    assert dock.inspect(container.id).state is State.EXITED


def test_a_start_that_comes_to_nothing_while_somebody_looks_is_no_run(
    dock: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record was read; then its starter took that away, and let go of the lock."""
    container = made(dock, "exec sleep 100", "always")
    dock.start(container.id)
    path = dock.paths.run_record(container.id)
    before = path.read_text()
    facts = json.loads(before)
    path.write_text(json.dumps(facts | {"started_at_ns": facts["started_at_ns"] + 1, "pid": 2**22}))

    def come_to_nothing(_lock: Path) -> bool:
        path.write_text(before)
        return False

    with monkeypatch.context() as patched:
        patched.setattr(instance, "is_locked", come_to_nothing)
        dock.inspect(container.id)
    assert dock.inspect(container.id).state is State.RUNNING
    assert events(dock, container) == ["create", "start"]
    dock.remove(container.id, force=True)


@pytest.mark.parametrize(
    "damage", [{"history": 7}, {"history": [7]}, {"history": [{"started_at_ns": 1}]}, {"history": []}]
)
def test_a_damaged_history_breaks_one_container_only(dock: Engine, damage: dict[str, object]) -> None:
    container = made(dock, COUNT + "exit 9", "always")
    other = made(dock, "exit 0", "no")
    dock.start(container.id)
    assert eventually(lambda: dock.inspect(container.id).restarts >= 4 and not dock.inspect(container.id).pid, 20)
    with dock._database.transaction() as connection:
        connection.execute("UPDATE containers SET exit = NULL, started_at_ns = 1 WHERE id = ?", (container.id,))
    path = dock.paths.run_record(container.id)
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | damage))
    found = {each.id: each for each in dock.containers()}
    path.write_text(before)
    assert found[container.id].state is State.BROKEN
    assert found[other.id].state is State.CREATED
    dock.remove(container.id, force=True)
