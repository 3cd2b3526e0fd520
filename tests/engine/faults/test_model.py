"""Containers, volumes and images against a model that is a dict: any sequence of acts, some by a process that is killed
in the middle (F3, F22, F23)."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from engine import ContainerSpec, Engine, Limits, State, VolumeMount
from engine.errors import AlreadyExists, Busy, EngineError, NotFound, WrongState
from tests.engine.faults.injection import KILL, Actor
from tests.engine.faults.test_acts import assert_whole
from tests.images import busybox_rootfs
from tests.soak import HOURS, amount

NAMES = st.sampled_from(["ann", "bob", "cyd"])
VOLUMES = st.sampled_from(["data", "logs"])
CALLS = st.sampled_from(["openat", "write", "pwrite64", "fdatasync", "rename", "unlink", "flock", "sendto", "close"])
NUMBERS = st.integers(1, 4)
LIVE = (State.RUNNING, State.PAUSED)

Model = dict[str, tuple[State, str]]  # container -> its state and the volume that it mounts, or ""


class Acts(RuleBasedStateMachine):
    """What is done, and what the model says must come of it."""

    dock: Engine
    actor: Actor
    archive: Path

    def __init__(self) -> None:
        super().__init__()
        self.model: Model = {}
        self.volumes: set[str] = set()
        self.loaded = False

    def teardown(self) -> None:
        for container in self.dock.containers():
            self.dock.remove(container.id, force=True)
        for volume in self.dock.volumes():
            self.dock.remove_volume(volume.name)
        if self._has_second():
            self.dock.remove_image("second")
        assert_whole(self.dock)

    def _has_second(self) -> bool:
        return any("second" in tag for image in self.dock.images() for tag in image.tags)

    def _found(self) -> Model:
        return {
            container.name: (container.state, container.spec.volumes[0].volume if container.spec.volumes else "")
            for container in self.dock.containers()
        }

    def _expect(self, expression: str, error: type[EngineError] | None) -> bool:
        """Do it here; whether it was to succeed."""
        names = {"engine": self.dock, "ContainerSpec": ContainerSpec, "VolumeMount": VolumeMount, "Path": Path}
        names["Limits"] = Limits
        if error is None:
            eval(expression, names)
            return True
        with pytest.raises(error):
            eval(expression, names)
        return False

    def _error(self, name: str, *states: State) -> type[EngineError] | None:
        if name not in self.model:
            return NotFound
        return None if self.model[name][0] in states else WrongState

    @rule(name=NAMES, volume=VOLUMES | st.just(""))
    def create(self, name: str, volume: str) -> None:
        mounts = f"(VolumeMount({volume!r}, '/data'),)" if volume else "()"
        missing = bool(volume) and volume not in self.volumes
        error = NotFound if missing else AlreadyExists if name in self.model else None
        command = f"engine.create(ContainerSpec('busybox', {name!r}, ('sleep', '1000'), volumes={mounts}))"
        if self._expect(command, error):
            self.model[name] = (State.CREATED, volume)

    @rule(name=NAMES)
    def start(self, name: str) -> None:
        if self._expect(f"engine.start({name!r})", self._error(name, State.CREATED, State.EXITED)):
            self.model[name] = (State.RUNNING, self.model[name][1])

    @rule(name=NAMES)
    def stop(self, name: str) -> None:
        if self._expect(f"engine.stop({name!r}, 0)", None if name in self.model else NotFound):
            state, volume = self.model[name]
            self.model[name] = (State.EXITED if state in LIVE else state, volume)

    @rule(name=NAMES)
    def restart(self, name: str) -> None:
        if self._expect(f"engine.restart({name!r}, 0)", None if name in self.model else NotFound):
            self.model[name] = (State.RUNNING, self.model[name][1])

    @rule(name=NAMES, pids=st.integers(32, 64))
    def update(self, name: str, pids: int) -> None:
        if self._expect(f"engine.update({name!r}, Limits(pids={pids}))", None if name in self.model else NotFound):
            assert self.dock.inspect(name).spec.limits.pids == pids

    @rule(name=NAMES)
    def kill(self, name: str) -> None:
        if self._expect(f"engine.kill({name!r})", self._error(name, *LIVE)):
            self.dock.wait(name, timeout_s=30)
            self.model[name] = (State.EXITED, self.model[name][1])

    @rule(name=NAMES)
    def pause(self, name: str) -> None:
        if self._expect(f"engine.pause({name!r})", self._error(name, State.RUNNING)):
            self.model[name] = (State.PAUSED, self.model[name][1])

    @rule(name=NAMES)
    def unpause(self, name: str) -> None:
        if self._expect(f"engine.unpause({name!r})", self._error(name, State.PAUSED)):
            self.model[name] = (State.RUNNING, self.model[name][1])

    @rule(name=NAMES, force=st.booleans())
    def remove(self, name: str, force: bool) -> None:
        allowed = (State.CREATED, State.EXITED, *(LIVE if force else ()))
        if self._expect(f"engine.remove({name!r}, force={force})", self._error(name, *allowed)):
            del self.model[name]

    @rule(name=NAMES, other=NAMES)
    def rename(self, name: str, other: str) -> None:
        error = NotFound if name not in self.model else None
        if name in self.model and other in self.model and other != name:
            error = AlreadyExists
        if self._expect(f"engine.rename({name!r}, {other!r})", error):
            self.model[other] = self.model.pop(name)

    @rule(name=VOLUMES)
    def create_volume(self, name: str) -> None:
        if self._expect(f"engine.create_volume({name!r})", AlreadyExists if name in self.volumes else None):
            self.volumes.add(name)

    @rule(name=VOLUMES)
    def remove_volume(self, name: str) -> None:
        used = any(volume == name for _, volume in self.model.values())
        if self._expect(
            f"engine.remove_volume({name!r})", NotFound if name not in self.volumes else Busy if used else None
        ):
            self.volumes.discard(name)

    @rule()
    def load(self) -> None:
        self._expect(f"engine.load_image(Path({str(self.archive)!r}), name='second')", None)
        self.loaded = True

    @rule()
    def remove_image(self) -> None:
        if self._expect("engine.remove_image('second')", None if self.loaded else NotFound):
            self.loaded = False

    @rule(
        act=st.sampled_from(
            ["start({0!r})", "stop({0!r}, 0)", "restart({0!r}, 0)", "update({0!r}, Limits(pids=48))",
             "remove({0!r}, force=True)", "pause({0!r})", "rename({0!r}, 'dan')",
             "create(ContainerSpec('busybox', {0!r}, ('sleep', '9')))", "create_volume('data')",
             "remove_volume('data')"]
        ),
        pick=st.randoms(use_true_random=False), call=CALLS, number=NUMBERS,
    )  # fmt: skip
    def killed(self, act: str, pick: Random, call: str, number: int) -> None:
        """By a process that is killed on the way: there is the old or the new then, and the model learns which."""
        free = [name for name in ("ann", "bob", "cyd") if name not in self.model]
        name = pick.choice((free if act.startswith("create") else sorted(self.model)) or ["ann"])
        expression = "engine." + act.format(name)
        answer, _ = self.actor.act(expression, call, number, KILL)
        assert "raw" not in answer, (expression, answer)
        self.dock.tidy()
        before, after = self.model, self._found()
        changed = {each for each in before.keys() | after.keys() if before.get(each) != after.get(each)}
        assert changed <= {name, "dan"}, (expression, before, after)
        assert {volume.name for volume in self.dock.volumes()} ^ self.volumes <= {"data"}
        self.model, self.volumes = after, {volume.name for volume in self.dock.volumes()}
        if "dan" in after:
            self.dock.remove("dan", force=True)
            del self.model["dan"]

    @invariant()
    def they_agree(self) -> None:
        assert self._found() == self.model
        assert {volume.name for volume in self.dock.volumes()} == self.volumes
        assert self._has_second() == self.loaded


def test_any_sequence_of_acts_is_as_the_model_says(dock: Engine, tmp_path: Path) -> None:
    archive = busybox_rootfs(tmp_path / "second.tar", second="of its own\n")
    with Actor(dock) as actor:
        kind = type("Acts", (Acts,), {"dock": dock, "actor": actor, "archive": archive})
        chosen = settings(
            max_examples=amount(60, 100, least=3),
            stateful_step_count=amount(25, 60, least=8),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate] if not HOURS else [Phase.generate, Phase.shrink],
        )
        until_s = time.monotonic() + HOURS * 3600
        run_state_machine_as_test(kind, settings=chosen)
        while time.monotonic() < until_s:
            run_state_machine_as_test(kind, settings=chosen)
