"""Change what a container was asked to be, while it runs too: its name, limits and restart policy."""

from __future__ import annotations

import dataclasses
import sqlite3
import sys
from collections.abc import Callable
from contextlib import ExitStack

from engine import names, policy
from engine.cgroups import bounds
from engine.containers import state, versions
from engine.containers.limits import Limiting, merge
from engine.containers.records import Records
from engine.containers.restarting import Restarting
from engine.containers.spec import Container, ContainerSpec, Limits, RestartPolicy
from engine.errors import AlreadyExists, EngineError
from engine.events import Events
from engine.security.spec import Caller
from engine.storage.database import Database


class Updating:
    """One act for all that can change without another container."""

    def __init__(
        self, database: Database, events: Events, records: Records, limiting: Limiting, restarting: Restarting
    ) -> None:
        self._database = database
        self._events = events
        self._records = records
        self._limiting = limiting
        self._restarting = restarting

    def update(
        self, container: Container, caller: Caller, *, name: str = "", limits: Limits | None = None,
        restart: RestartPolicy | None = None, change: str = "update", exactly: bool = False,
    ) -> None:  # fmt: skip
        """Change all that is given, at once and for each later start, or nothing when it raises. It is one version.

        Denied for what is not for this caller, InvalidRequest for what this host does not have, AlreadyExists for a
        taken name, Busy for less than is in use, Unsupported for what the kernel cannot do. Of limits, what is None or
        empty stays, unless these are to be ``exactly`` its limits: then they are those of an earlier version of it.
        """
        if name:
            names.container_name(name)
        if limits is not None:
            policy.check_update(limits, caller)
        if restart is not None:
            policy.check_restart(restart)
        with self._records.locked(container) as (container, _):
            state.require("rename" if change == "rename" else "update", container.state, container.name)
            before = container.spec
            after = dataclasses.replace(before, name=name or before.name, restart=restart or before.restart)
            if limits is not None:
                after = dataclasses.replace(after, limits=limits if exactly else merge(before.limits, limits))
                policy.check_kept(before.limits, after.limits, caller)
                bounds.check(after.limits)
            self._require_free(after.name, container)
            # The kernel and the shim's files first, for they may refuse. Killed before the store says so too, the store
            # is right: see `Limiting.settle`.
            with ExitStack() as undo:
                if limits is not None:
                    self._limit(container, after.limits, undo)
                if after.restart != before.restart:
                    self._wish(container, after.restart, undo)
                if after != before:
                    self._keep(container, after, caller, change)
                undo.pop_all()
        self._events.wake()

    def _limit(self, container: Container, limits: Limits, undo: ExitStack) -> None:
        before = container.spec.limits
        self._limiting.enforce(container, limits)
        undo.callback(_put_back, container, lambda: self._limiting.enforce(container, before))
        self._limiting.remember(container, limits)
        undo.callback(_put_back, container, lambda: self._limiting.remember(container, before))

    def _wish(self, container: Container, restart: RestartPolicy, undo: ExitStack) -> None:
        if not container.state.alive:
            return
        wished = self._restarting.wished(container)
        before = container.spec.restart if wished else RestartPolicy()
        undo.callback(_put_back, container, lambda: self._restarting.write(container, before))
        self._restarting.write(container, restart)

    def _keep(self, container: Container, after: ContainerSpec, caller: Caller, change: str) -> None:
        before = container.spec
        try:
            with self._database.transaction(durable=True) as connection:
                versions.keep(connection, container, after, caller.name, change)
                if after.name != before.name:
                    self._events.add(connection, "container", "rename", container.id, after.name, before=before.name)
                if (after.limits, after.restart) != (before.limits, before.restart):
                    self._events.add(connection, "container", "update", container.id, after.name)
        except sqlite3.IntegrityError as error:
            raise _taken(after.name) from error

    def _require_free(self, name: str, container: Container) -> None:
        """Before anything is touched; between now and the end somebody else may still take it."""
        if self._database.row("SELECT 1 FROM containers WHERE name = ? AND id <> ?", (name, container.id)):
            raise _taken(name)


def _taken(name: str) -> AlreadyExists:
    return AlreadyExists(
        f"the name {name!r} is taken",
        hint="choose another, or rename or remove that one",
        field="name",
        subject=name,
    )


def _put_back(container: Container, act: Callable[[], None]) -> None:
    try:
        act()
    except (EngineError, OSError) as error:  # the first failure is what is told
        print(f"wharfie: putting {container.name} back: {error}", file=sys.stderr, flush=True)
