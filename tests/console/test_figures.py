"""Figures on an open page: told as they are measured, with when that was."""

from __future__ import annotations

import time
from collections import namedtuple
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from console import hostload, recorder
from engine import Config, ContainerSpec, Engine, Figure, Image
from engine.events import EventFilter
from tests.conftest import empty, eventually
from tests.console.serving import Serve
from tests.console.test_live import fetch_ticket, frames_of, ran, socket
from tests.images import busybox_rootfs


@pytest.mark.django_db(transaction=True)
async def test_what_is_measured_is_told_at_once_and_says_when_it_was(page: Client, image: Image) -> None:
    container = await sync_to_async(ran)("sleep 1000")
    pages = [socket(page, await sync_to_async(fetch_ticket)(page)) for _ in range(2)]
    for communicator in pages:
        await communicator.connect()
        await communicator.send_json_to({"sub": "stats", "ids": [container], "host": True})
    assert await pages[1].receive_nothing(0.1), "nothing was measured yet"
    before_ms = time.time_ns() // 10**6
    await sync_to_async(recorder.recorder().tick)()
    after_ms = time.time_ns() // 10**6
    first, second = [(await each.receive_json_from(timeout=5))["frames"] for each in pages]
    assert first == second, "it was read once"
    [frame] = first
    assert before_ms <= frame["at"] <= after_ms
    assert frame["of"][container]["mem"] > 0
    assert frame["host"]["load"] >= 0
    late = socket(page, await sync_to_async(fetch_ticket)(page))
    await late.connect()
    await late.send_json_to({"sub": "stats", "ids": [container], "host": True})
    assert (await late.receive_json_from(timeout=5))["frames"] == [frame], "who comes later sees the newest at once"
    for communicator in (*pages, late):
        await communicator.disconnect()
    assert recorder.recorder()._listeners == (), "nobody watches any more"


@pytest.mark.django_db(transaction=True)
async def test_the_points_of_a_chart_come_once_each(page: Client, image: Image) -> None:
    container = await sync_to_async(ran)("sleep 1000")
    measured, now = recorder.recorder(), time.time()
    for ago in (3.0, 2.0, 1.0):
        measured.history.add({container: Figure(0.25, 2**20, 3)}, {}, now_s=now - ago)
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await communicator.send_json_to({"sub": "metrics", "id": container})
    [first] = await frames_of(communicator, lambda got: len(got) == 1)
    assert (len(first["t"]), first["cpu"]) == (3, [0.25] * 3)
    await sync_to_async(measured.tick)()
    [second] = await frames_of(communicator, lambda got: len(got) == 1)
    assert second["t"] > first["t"][2:]
    assert (len(second["t"]), second["cpu"]) == (1, [None]), "one sample is no rate"
    # Back after a moment: from where the page is.
    await communicator.send_json_to({"sub": "metrics", "id": container, "since": first["t"][0]})
    [again] = await frames_of(communicator, lambda got: len(got) == 1)
    assert again["t"] == first["t"][1:] + second["t"]
    await communicator.disconnect()


def test_the_hosts_cpu_is_that_of_the_last_second_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = namedtuple("spent", "user nice system idle iowait irq softirq steal guest guest_nice")
    now = [100.0, 0.0]  # the clock, and seconds of work

    def times() -> object:
        return spent(now[1], 0, 0, 7 * now[0], now[0], 0, 0, 0, 3 * now[1], 0)

    monkeypatch.setattr("psutil.cpu_times", times)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    cpu = hostload.Cpu()
    told = [cpu.look()]
    for lasted_s, work_s in ((1.0, 1.5), (0.1, 0.1), (0.9, 0.4), (60.0, 30.0)):
        now = [now[0] + lasted_s, now[1] + work_s]
        told.append(cpu.look())
    assert told == [None, 1.5, 1.5, 0.5, None]


def test_what_ends_while_nobody_looks_is_told_all_the_same(config: Config, serve: Serve, tmp_path: Path) -> None:
    serve.until("listens on")
    with Engine(config) as engine:
        engine.load_image(busybox_rootfs(tmp_path / "busybox.tar"), name="busybox")
        made = engine.create(ContainerSpec(image="busybox", command=("sh", "-c", "exit 3")))
        engine.start(made.id)
        told = EventFilter(object_id=made.id)
        assert eventually(lambda: next(event.action for event in engine.event_log.find(told)) == "die", 20)
        empty(engine)
