"""A container in the place of another one, where what is to be changed can only be said at creation."""

from __future__ import annotations

import dataclasses
import sys
from typing import Protocol

from engine import policy
from engine.containers import state
from engine.containers.spec import Container, ContainerSpec, Limits, RestartPolicy, State
from engine.containers.stopping import Patience
from engine.errors import EngineError
from engine.security.spec import Caller


class Acts(Protocol):
    """What of the engine is needed."""

    def create(self, spec: ContainerSpec, *, caller: Caller = ...) -> Container: ...
    def start(self, ref: str) -> Container: ...
    def stop(
        self, ref: str, timeout_s: float | None = None, *, caller: Caller = ..., patience: Patience | None = ...
    ) -> Container: ...
    def inspect(self, ref: str) -> Container: ...
    def update(
        self, ref: str, limits: Limits | None = ..., restart: RestartPolicy | None = ..., *, name: str = ...,
        caller: Caller = ...,
    ) -> Container: ...  # fmt: skip
    def containers(self) -> list[Container]: ...
    def remove(self, ref: str, *, force: bool = ...) -> None: ...


def recreate(
    engine: Acts, old: Container, spec: ContainerSpec, caller: Caller, patience: Patience | None
) -> tuple[Container, Container]:
    """The new one and the old one. On any error the old one has its name again, and runs if it did."""
    name, ran = old.name, old.state.alive
    state.require("rename", old.state, name)
    policy.check(dataclasses.replace(spec, name=name), caller)
    before = _free(name, {each.name for each in engine.containers()})
    engine.stop(old.id, caller=caller, patience=patience)
    new = None
    try:
        engine.update(old.id, name=before, restart=RestartPolicy(), caller=caller)  # it is not to come back by itself
        new = engine.create(dataclasses.replace(spec, name=name), caller=caller)
        if ran:
            new = engine.start(new.id)
    except BaseException:
        _undo(engine, old, new, name, caller)
        raise
    return new, engine.inspect(old.id)


def _free(name: str, taken: set[str]) -> str:
    number = 1
    while (found := f"{name[:48]}-before-{number}") in taken:
        number += 1
    return found


def _undo(engine: Acts, old: Container, new: Container | None, name: str, caller: Caller) -> None:
    try:
        if new is not None:
            engine.remove(new.id, force=True)
        engine.update(old.id, name=name, restart=old.spec.restart, caller=caller)
        if old.state.alive and engine.inspect(old.id).state in (State.EXITED, State.CREATED):
            engine.start(old.id)
    except EngineError as error:  # the first failure is what is told; this one goes to the log
        print(f"wharfie: putting {name} back: {error}", file=sys.stderr, flush=True)
