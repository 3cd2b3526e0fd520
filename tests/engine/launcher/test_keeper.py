"""What the keeper remembers of processes that ended."""

from __future__ import annotations

import os

from engine.launcher import keeper
from engine.linux import pidfds
from engine.shim.custody import Deposit


def test_how_another_process_of_that_number_ended_is_forgotten() -> None:
    """Numbers are used again: else it would be told as the end of this one, whose shim was killed."""
    kept = keeper.Keeper.__new__(keeper.Keeper)
    kept._launcher, kept._kept, kept._ended = os.getppid(), {}, {100: 9, 200: 0, 300: 0}

    def deposit(pid: int) -> None:
        kept._keep(Deposit(os.getpid(), pid, "0" * 64, pidfds.of(os.getpid()), (), -1))

    deposit(200)
    assert kept._ended == {100: 9, 300: 0}
    kept._ended[200] = 5 << 8  # by now it is this one's
    deposit(200)  # by the shim that has adopted it
    assert kept._ended == {100: 9, 300: 0, 200: 5 << 8}
    deposit(300)  # its next run
    assert kept._ended == {100: 9, 200: 5 << 8}
    keeper._drop(kept._kept[os.getpid()])
