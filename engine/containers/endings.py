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
from engine.storage import documents

DAMAGED = "the exit record is damaged"


def stored(row: sqlite3.Row) -> ExitRecord | None:
    """How a container's last run ended, once that was folded into its row. One that is damaged says so."""
    if row["exit"] is None:
        return None
    try:
        return documents.load(ExitRecord, row["exit"])
    except ValueError:
        return ExitRecord(None, None, False, row["started_at_ns"] or 0, DAMAGED)


def exit_from_event(event: Event) -> ExitRecord:
    """The end that a ``die`` event tells of."""
    try:
        return documents.build(ExitRecord, event.detail)
    except ValueError:
        return ExitRecord(None, None, False, event.time_ns, DAMAGED)


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
    """A container's run as its shim describes it, and who ended it; ValueError when that is damaged."""
    known = {field.name for field in dataclasses.fields(ExitRecord)}
    ended = documents.build(ExitRecord, {key: value for key, value in run.items() if key in known})
    stop_signal = names.signal_number(json.loads(row["spec"])["stop_signal"] or "TERM")
    return dataclasses.replace(ended, ended_by=ended_by(ended, stop_signal))


def earlier(told: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs before the one that a record is of, the oldest first; ValueError when that is no such list, or none of
    a container that waits for its next run."""
    runs = told.get("history", [])
    if type(runs) is not list or any(
        type(run) is not dict or type(run.get("started_at_ns")) is not int for run in runs
    ):
        raise ValueError("its earlier runs cannot be read")
    if told.get("resting") and not runs:
        raise ValueError("it waits for its next run, and had none")
    return runs
