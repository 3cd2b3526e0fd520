"""A child of the keeper's, which may outlive it."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn

from engine.cgroups import manager
from engine.linux import process

AFTER_FAILURE_S = 1.0


def apart(work: Callable[[], None], needed: set[int], run: str, instance: str) -> NoReturn:
    """In a child: none of its parent's descriptors but these and its streams, then ``work``, then the end.

    It may outlive launcher and keeper, and be the last in the engine's groups, however it ends.
    """
    status = 1
    try:
        try:
            first = 3
            for descriptor in sorted(needed - {-1}):
                os.closerange(first, descriptor)
                first = descriptor + 1
            process.close_from(first)
            work()
            status = 0
        except BaseException as error:
            print(f"wharfie keeper: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            select.select((), (), (), AFTER_FAILURE_S)  # who begins it again would do so as fast as it fails
        try:
            manager.leave_engine(instance, f"{run}/groups.lock")
        except OSError as error:
            print(f"wharfie keeper: {error}", file=sys.stderr, flush=True)
    finally:  # and nowhere else
        os._exit(status)
