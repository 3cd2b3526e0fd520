"""A container that does nothing costs nothing: its shim waits, without a wake-up, a child or a descriptor too many."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from engine import Engine
from engine.containers.spec import ContainerSpec
from tests.conftest import eventually, name_of

REST_S = 1.0
# null and the launcher's log twice; its process, tree and overlay; exit record, log, control socket.
HELD = 9


def _wakeups(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("voluntary_ctxt_switches:")[1].split()[0])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(
    ("options", "held", "helpers"),
    [
        ({}, HELD + 2, 0),  # the read ends of its stdout and stderr
        ({"stdin": True}, HELD + 3, 0),
        ({"tty": True}, HELD + 4, 1),  # output, the host's end, the desk; a pidfd of who serves it
        ({"tty": True, "stdin": True}, HELD + 4, 1),
    ],
    ids=lambda value: "-".join(value) or "plain" if isinstance(value, dict) else None,
)
def test_a_shim_at_rest_does_nothing(dock: Engine, options: dict[str, bool], held: int, helpers: int) -> None:
    made = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"), **options))  # type: ignore[arg-type]
    container = dock.start(made.id)
    shim = dock._records.shim(container.id)
    assert shim

    def at_rest() -> tuple[int, int, set[int]]:
        return _wakeups(shim), len(os.listdir(f"/proc/{shim}/fd")), set(_children(shim))

    def settled() -> bool:  # its starter, a child too, is gone, and whoever serves its terminal is there
        names = [name_of(child) for child in _children(shim)]
        return at_rest()[1] == held and len(names) == 1 + helpers and "wharfie-spare" not in names

    assert eventually(settled), at_rest()
    before = at_rest()
    time.sleep(REST_S)  # what is shown is that nothing happens meanwhile
    assert at_rest() == before
    assert container.pid in before[2]
    dock.remove(container.id, force=True)
