"""Which act is legal in which state, as data."""

from __future__ import annotations

from engine.containers.spec import State
from engine.errors import WrongState

LEGAL: dict[str, frozenset[State]] = {
    "start": frozenset({State.CREATED, State.EXITED}),
    "stop": frozenset({State.RUNNING, State.EXITED, State.CREATED}),  # of one that does not run: nothing to do
    "kill": frozenset({State.RUNNING}),
    "exec": frozenset({State.RUNNING}),
    "remove": frozenset({State.CREATED, State.EXITED, State.BROKEN}),
}

HINTS = {
    ("start", State.RUNNING): "stop it first",
    ("kill", State.CREATED): "start it first",
    ("kill", State.EXITED): "start it first",
    ("exec", State.CREATED): "start it first",
    ("exec", State.EXITED): "start it first",
    ("remove", State.RUNNING): "stop it first, or remove it by force",
}


def require(act: str, state: State, name: str) -> None:
    """WrongState unless the act is legal."""
    if state not in LEGAL[act]:
        raise WrongState(
            f"cannot {act} container {name!r}: it is {state.value}",
            hint=HINTS.get((act, state), "it can only be removed" if state is State.BROKEN else ""),
            subject=name,
        )
