"""A host that is short of disk or of memory, as those see it who come to do something about it (F5, F8, F33)."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from engine import Config, ContainerSpec, Engine, State, policy
from engine.cgroups import manager, room
from engine.storage.paths import Paths
from tests.conftest import empty, eventually
from tests.console import serving
from tests.console.conftest import HTMX
from tests.console.serving import PASSWORD, Serve, Visitor
from tests.images import busybox_rootfs
from tests.small_disks import fill

SIGN_IN = "/sign-in/"


@pytest.fixture
def stores(config: Config, small: Serve, tmp_path: Path) -> Iterator[Engine]:
    """Somebody at a command line of the console that has a disk of its own."""
    with Engine(Config(root=config.root / "store", run=config.run)) as engine:
        engine.load_image(busybox_rootfs(tmp_path / "busybox.tar"), name="busybox")
        yield engine
        empty(engine)


def test_who_comes_to_make_room_on_a_full_disk_can_sign_in_and_do_it(
    config: Config, mate: Visitor, stores: Engine
) -> None:
    for name in ("runs", "goes"):
        stores.create(ContainerSpec(image="busybox", name=name, command=("sleep", "1000")))
    stores.create_volume("goes")
    stores.start("runs")
    filled = fill(config.root, "bytes")
    newcomer = Visitor(f"http://{mate.host}")
    newcomer.post(SIGN_IN, username="captain", password=PASSWORD)
    assert "goes" in newcomer.get("/containers/")
    with pytest.raises(AssertionError, match="No space left"):
        newcomer.post("/containers/-/create/", image="busybox", name="more", command="true")
    token = newcomer.token("/containers/")
    assert newcomer.press("/containers/runs/stop/", token) == 302
    assert newcomer.press("/containers/goes/remove/", token) == 303
    newcomer.post("/volumes/goes/remove/", typed="goes")
    assert [(each.name, each.state) for each in stores.containers()] == [("runs", State.EXITED)]
    assert stores.volumes() == []
    for path in filled:
        path.unlink()
    assert newcomer.press("/containers/runs/start/", token) == 302, "it recovers without a restart"
    assert stores.inspect("runs").state is State.RUNNING


def test_a_database_that_somebody_holds_is_waited_for_and_then_said(config: Config, serve: Serve) -> None:
    """Not a fault of the console: it is said, with what to do, and nothing has to be started anew."""
    visitor = serving.visitor(serve)
    link = serve.until(r"http://[^/\s]+(/setup/\S+)")
    held = sqlite3.connect(Paths(config).console_database, isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    with pytest.raises(AssertionError, match=r"not complete.*s database is locked by another process"):
        visitor.post(link, username="captain", password=PASSWORD, again=PASSWORD)
    assert time.monotonic() - began > 4, "it waited"
    held.close()
    visitor.post(link, username="captain", password=PASSWORD, again=PASSWORD)
    assert "Containers" in visitor.get("/")


def test_an_engine_that_is_short_of_memory_takes_on_nothing_more(page: Client, image: object, engine: Engine) -> None:
    """429, and when to ask again; what is there can be looked at, and removed to make room."""
    engine.create(ContainerSpec(image="team/empty:1", name="idle", command=("/none",)))
    group = manager.group(engine.instance, manager.ENGINE_GROUP)
    unlimited = dataclasses.asdict(policy.default_limits())
    seen: list[int] = []

    def settled() -> bool:
        """Who unpacked the image has ended, whose memory would be free a moment later."""
        seen.append(manager.usage(group).memory_bytes)
        return len(seen) > 10 and max(seen[-10:]) - min(seen[-10:]) < 2**20

    assert eventually(settled)
    limit = seen[-1] + room.LEAST_BYTES // 2
    group.limit(unlimited | {"memory_bytes": limit, "memory_swap_bytes": limit})
    room._unlimited.clear()  # now: whoever looked before would have found none
    refused = page.post("/containers/idle/start/", headers=HTMX)
    assert (refused.status_code, refused["Retry-After"]) == (429, "5")
    assert "The engine is short of memory" in refused.text
    assert engine.inspect("idle").state is State.CREATED
    assert page.get("/containers/").status_code == 200
    limit += 2 * room.LEAST_BYTES
    group.change(unlimited | {"memory_bytes": limit, "memory_swap_bytes": limit})
    assert page.post("/containers/idle/start/", headers=HTMX).status_code == 400, "there is no such command"
    assert page.post("/containers/idle/remove/").status_code == 303
