"""How runs ended: as stored, as told in events, and who ended them."""

from __future__ import annotations

import dataclasses
import json
import signal
import sqlite3
from typing import Any

from engine import names
from engine.containers.spec import EndedBy, ExitRecord
from engine.events import Event


def exit_from_json(text: str) -> ExitRecord:
    """An exit as stored; ValueError, KeyError or TypeError when it is damaged."""
    data: dict[str, Any] = json.loads(text)
    return ExitRecord(**data | {"ended_by": EndedBy(data.get("ended_by", EndedBy.UNKNOWN))})


def exit_from_event(event: Event) -> ExitRecord:
    """The end that a ``die`` event tells of."""
    return exit_from_json(json.dumps(event.detail))


def ended_by(ended: ExitRecord, stop_signal: int) -> EndedBy:
    """Who ended a run. A signal that was asked for and did not end it, a SIGHUP of yesterday, is no reason.

    One that was asked to stop may clean up and leave by itself: that is heeding, and the engine ended it.
    """
    if ended.code is None:
        return EndedBy.UNKNOWN
    if ended.asked_signal is not None and ended.asked_signal == (ended.signal or stop_signal):
        return EndedBy.ENGINE
    if ended.signal is None:
        return EndedBy.ITSELF
    return EndedBy.OOM if ended.oom_killed and ended.signal == signal.SIGKILL else EndedBy.STRANGER


def judged(row: sqlite3.Row, run: dict[str, Any]) -> ExitRecord:
    """A container's run as its shim describes it, and who ended it; TypeError when that is damaged."""
    known = {field.name for field in dataclasses.fields(ExitRecord)}
    ended = ExitRecord(**{key: value for key, value in run.items() if key in known})
    stop_signal = names.signal_number(json.loads(row["spec"])["stop_signal"] or "TERM")
    return dataclasses.replace(ended, ended_by=ended_by(ended, stop_signal))
