"""Which act is legal in which state, as data."""

from __future__ import annotations

from engine.containers.spec import State
from engine.errors import WrongState

LEGAL: dict[str, frozenset[State]] = {
    "start": frozenset({State.CREATED, State.EXITED}),
    "stop": frozenset(
        {State.RUNNING, State.PAUSED, State.RESTARTING, State.EXITED, State.CREATED}
    ),  # not alive: nothing to do
    "restart": frozenset(
        {State.RUNNING, State.PAUSED, State.RESTARTING, State.EXITED, State.CREATED}
    ),  # not alive: a start
    "kill": frozenset({State.RUNNING, State.PAUSED}),
    "signal": frozenset({State.RUNNING, State.PAUSED}),  # a process of it
    "pause": frozenset({State.RUNNING}),
    "unpause": frozenset({State.PAUSED}),
    "rename": frozenset({State.CREATED, State.RUNNING, State.PAUSED, State.RESTARTING, State.EXITED}),
    "update": frozenset({State.CREATED, State.RUNNING, State.PAUSED, State.RESTARTING, State.EXITED}),
    "exec": frozenset({State.RUNNING}),
    "copy": frozenset({State.CREATED, State.RUNNING, State.PAUSED, State.EXITED}),
    "remove": frozenset({State.CREATED, State.EXITED, State.BROKEN}),
}

HINTS = {
    ("start", State.RUNNING): "stop it first",
    ("start", State.PAUSED): "unpause it",
    ("start", State.RESTARTING): "it starts by itself; restart it to do so now",
    ("kill", State.RESTARTING): "stop it",
    ("exec", State.RESTARTING): "try again when it runs",
    ("copy", State.RESTARTING): "try again when it runs",
    ("pause", State.RESTARTING): "try again when it runs",
    ("unpause", State.RESTARTING): "it waits to be started again by itself",
    ("remove", State.RESTARTING): "stop it first, or remove it by force",
    ("signal", State.RESTARTING): "try again when it runs",
    ("signal", State.CREATED): "start it first",
    ("signal", State.EXITED): "start it first",
    ("kill", State.CREATED): "start it first",
    ("kill", State.EXITED): "start it first",
    ("exec", State.CREATED): "start it first",
    ("exec", State.EXITED): "start it first",
    ("exec", State.PAUSED): "unpause it first",
    ("pause", State.CREATED): "start it first",
    ("pause", State.EXITED): "start it first",
    ("pause", State.PAUSED): "unpause lets it go on",
    ("unpause", State.RUNNING): "only a paused one can be unpaused",
    ("unpause", State.CREATED): "start it",
    ("unpause", State.EXITED): "start it",
    ("remove", State.RUNNING): "stop it first, or remove it by force",
    ("remove", State.PAUSED): "stop it first, or remove it by force",
}


def require(act: str, state: State, name: str) -> None:
    """WrongState unless the act is legal."""
    if state not in LEGAL[act]:
        raise forbids(act, state, name)


def forbids(act: str, state: State, name: str) -> WrongState:
    """The error of an act that this state does not allow."""
    hint = HINTS.get((act, state), "it can only be removed" if state is State.BROKEN else "it has just ended")
    return WrongState(f"cannot {act} container {name!r}: it is {state.value}", hint=hint, subject=name)
