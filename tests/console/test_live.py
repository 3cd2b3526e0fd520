"""The websocket: who gets one, and what it carries."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.db import DatabaseError
from django.test import Client

from console import door, gateway
from console.accounts.models import User
from console.live import tickets
from console.live.consumer import LiveConsumer
from console.live.hub import Hub, hub
from console.live.numbers import Rates
from console.live.outbox import Outbox
from console.live.source import Source
from engine import ContainerSpec, Engine, ExecSpec, Image, Sample, errors
from tests.images import small_starter

HOST = "127.0.0.1:8000"


def socket(
    client: Client, ticket: str, origin: str | None = f"http://{HOST}", host: str = HOST
) -> WebsocketCommunicator:
    from console.asgi import application

    cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    headers = [(b"host", host.encode()), (b"cookie", cookie.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    return WebsocketCommunicator(application, f"/live/?ticket={ticket}", headers=headers)


def fetch_ticket(client: Client) -> str:
    return client.post("/live/ticket/").json()["ticket"]


async def outcome(communicator: WebsocketCommunicator) -> tuple[bool, Any]:
    connected, code = await communicator.connect()
    await communicator.disconnect()
    return connected, code


@pytest.mark.django_db(transaction=True)
async def test_a_ticket_opens_one_socket(page: Client, host: Engine) -> None:
    ticket = await sync_to_async(fetch_ticket)(page)
    assert (await outcome(socket(page, ticket)))[0]
    assert await outcome(socket(page, ticket)) == (False, 4403)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example",
        f"https://{HOST}",
        "http://127.0.0.1:9999",
        "http://127.0.0.1",
        f"http://{HOST}/",
        f"http://{HOST}.evil.example",
        f"http://user@{HOST}",
    ],
)
async def test_another_origin_gets_no_socket(page: Client, host: Engine, origin: str | None) -> None:
    ticket = await sync_to_async(fetch_ticket)(page)
    assert await outcome(socket(page, ticket, origin)) == (False, 4403)


@pytest.mark.django_db(transaction=True)
async def test_a_host_name_that_is_not_ours_gets_no_socket(page: Client, host: Engine) -> None:
    ticket = await sync_to_async(fetch_ticket)(page)
    assert await outcome(socket(page, ticket, "http://evil.example", "evil.example")) == (False, 4403)


@pytest.mark.django_db(transaction=True)
async def test_nobody_gets_a_socket_with_the_ticket_of_another_session(page: Client, host: Engine) -> None:
    ticket = await sync_to_async(fetch_ticket)(page)
    assert await outcome(socket(Client(), ticket)) == (False, 4403)


def test_a_ticket_is_good_for_30_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(tickets.time, "monotonic", lambda: now)
    young, old = tickets.issue("s"), tickets.issue("s")
    now = 29.9
    assert tickets.redeem(young, "s")
    now = 30.0
    assert not tickets.redeem(old, "s")


@pytest.mark.django_db(transaction=True)
async def test_a_change_reaches_an_open_page(page: Client, host: Engine) -> None:
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await communicator.send_json_to({"sub": "containers"})
    [missed] = (await communicator.receive_json_from())["frames"]  # what it may have missed
    await sync_to_async(host.create_volume)("data")
    [news] = (await communicator.receive_json_from(timeout=5))["frames"]
    assert news["seq"] == missed["seq"] + 1
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_a_page_that_comes_back_is_told_what_it_missed_and_nothing_else(page: Client, host: Engine) -> None:
    await sync_to_async(host.create_volume)("data")
    last = host.last_event()
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await communicator.send_json_to({"sub": "containers", "since": last})
    assert await communicator.receive_nothing(0.4)
    await communicator.send_json_to({"unsub": "containers"})
    await sync_to_async(host.create_volume)("more")
    assert await communicator.receive_nothing(0.4), "a hidden page hears nothing"
    await communicator.send_json_to({"sub": "containers", "since": last})
    assert (await communicator.receive_json_from())["frames"] == [{"topic": "containers", "seq": last + 1}]
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
def test_a_page_says_how_far_the_events_were_before_it_looked(
    page: Client, host: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is fetched again for what happened meanwhile, and for nothing else."""

    def since() -> int:
        found = re.search(r'data-since="(\d+)"', page.get("/containers/").content.decode())
        assert found
        return int(found[1])

    host.create_volume("data")
    last = host.last_event()
    assert since() == last
    listing = host.listing

    def later(*args: Any, **options: Any) -> Any:
        found = listing(*args, **options)
        host.create_volume("meanwhile")
        return found

    monkeypatch.setattr(host, "listing", later)
    assert since() == last
    assert host.last_event() == last + 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "text",
    [
        "[]", "nonsense", '{"sub":"all"}', '{"sub":"logs","id":"../x"}', '{"ack":"x"}', '{"sub":[]}', '{"ack":1e999}',
        "[" * 100_000,
    ],
)  # fmt: skip
async def test_a_message_without_sense_ends_the_connection(page: Client, host: Engine, text: str) -> None:
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await communicator.send_to(text_data=text)
    assert await communicator.receive_output() == {"type": "websocket.close", "code": 4400}
    await communicator.disconnect()
    assert not door._inside


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [errors.Corrupt("state.db cannot be read"), DatabaseError("locked")])
async def test_what_cannot_be_answered_ends_the_connection_and_gives_all_back(
    page: Client, host: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(_key: str) -> None:
        raise error

    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    monkeypatch.setattr(door, "signed_in", fails)
    await communicator.send_to(text_data='{"sub":"containers"}')
    assert await communicator.receive_output() == {"type": "websocket.close", "code": 1011}
    await communicator.disconnect()
    assert not door._inside
    assert not hub()._clients


@pytest.mark.django_db(transaction=True)
async def test_a_page_whose_server_gives_up_on_it_leaves_nothing(page: Client, host: Engine) -> None:
    """What ends this is no message: a cancel, as when a message is waited with for too long."""
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    assert len(door._inside) == len(hub()._clients) == 1
    communicator.future.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await communicator.future
    assert not door._inside
    assert not hub()._clients


@pytest.mark.django_db(transaction=True)
async def test_whose_rights_cannot_be_asked_for_is_shown_nothing_more(
    page: Client, host: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_key: str) -> None:
        raise DatabaseError("locked")

    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    monkeypatch.setattr(door, "signed_in", fails)
    (inside,) = door._inside
    inside._again.set()
    assert await communicator.receive_output() == {"type": "websocket.close", "code": 1011}
    await communicator.disconnect()
    assert not door._inside


@pytest.mark.django_db(transaction=True)
async def test_the_log_of_an_ended_container_comes_whole_and_ends(page: Client, image: Image) -> None:
    def run() -> str:
        engine = gateway.engine()
        small_starter(engine)
        script = "echo out; echo err >&2; printf nonl; exit 3"
        container = engine.create(ContainerSpec(image="wharfie/starter", command=("sh", "-c", script)))
        engine.start(container.id)
        engine.wait(container.id, timeout_s=20)
        return container.id

    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await communicator.send_json_to({"sub": "logs", "id": await sync_to_async(run)()})
    lines, end = [], False
    while not end:
        message = await communicator.receive_json_from(timeout=5)
        for frame in message["frames"]:
            lines += [line[2:] for line in frame["rows"]]
            end = frame["end"]
        await communicator.send_json_to({"ack": message["seq"]})
    assert sorted(lines) == [["e", "err"], ["o", "nonl"], ["o", "out"]]
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_signing_out_closes_the_socket(page: Client, host: Engine) -> None:
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await sync_to_async(page.post)("/sign-out/")
    assert await communicator.receive_output(timeout=5) == {"type": "websocket.close", "code": 4401}
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_who_lost_the_right_to_be_here_gets_no_topic(page: Client, host: Engine, user: User) -> None:
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await User.objects.filter(pk=user.pk).aupdate(is_superuser=False)  # sends no signal, as another process does not
    await communicator.send_json_to({"sub": "containers"})
    assert await communicator.receive_output(timeout=5) == {"type": "websocket.close", "code": 4409}
    await communicator.disconnect()

    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await User.objects.filter(pk=user.pk).aupdate(is_active=False)
    await communicator.send_json_to({"sub": "containers"})
    assert await communicator.receive_output(timeout=5) == {"type": "websocket.close", "code": 4401}
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("field", "value", "code"), [("is_active", False, 4401), ("is_superuser", False, 4409), ("password", "!", 4401)]
)
async def test_what_an_account_loses_its_open_sockets_lose(
    page: Client, host: Engine, user: User, field: str, value: Any, code: int
) -> None:
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    other = await User.objects.acreate(username="other")
    other.is_active = False
    await other.asave()  # not this one's
    await user.asave(update_fields=["last_login"])
    assert await communicator.receive_nothing(timeout=0.5)
    setattr(user, field, value)
    await user.asave()
    assert await communicator.receive_output(timeout=5) == {"type": "websocket.close", "code": code}
    await communicator.disconnect()


async def test_a_page_that_draws_nothing_costs_one_snapshot_a_topic() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    outbox = Outbox(send)
    outbox.PERIOD_S = 0
    running = asyncio.create_task(outbox.run())
    for number in range(1000):
        outbox.put("stats", {"n": number})
        await asyncio.sleep(0)
    waiting = asyncio.create_task(outbox.deliver("logs", {}))
    await asyncio.sleep(0.05)
    assert [message["seq"] for message in sent] == [1, 2, 3]
    assert not waiting.done(), "who reads a log for it waits"
    outbox.acknowledge(99)
    await asyncio.wait_for(waiting, 5)
    assert sent[3]["frames"] == [{"topic": "stats", "n": 999}, {"topic": "logs"}]
    running.cancel()


async def test_messages_keep_their_distance() -> None:
    loop, times = asyncio.get_running_loop(), []

    async def send(message: dict[str, Any]) -> None:
        times.append(loop.time())
        outbox.acknowledge(message["seq"])

    outbox = Outbox(send)
    running = asyncio.create_task(outbox.run())
    while len(times) < 4:
        outbox.put("stats", {})
        await asyncio.sleep(0.01)
    assert times[3] - times[0] >= 3 * outbox.PERIOD_S - 0.01
    running.cancel()


async def test_a_source_is_read_once_for_all_and_not_at_all_for_nobody() -> None:
    reads = 0

    def read() -> int:
        nonlocal reads
        reads += 1
        return reads

    source = Source(lambda: read, period_s=0.2)
    heard: dict[int, list[int]] = {n: [] for n in range(50)}
    for listener in heard.values():
        source.watch(listener.append)
    while len(heard[0]) < 3:
        await asyncio.sleep(0.01)
    assert all(numbers == heard[0] for numbers in heard.values())
    assert reads <= 4
    source.close()
    seen = reads
    await asyncio.sleep(0.5)
    assert reads == seen


async def test_a_source_that_nobody_watches_is_kept_no_longer_than_to_the_next() -> None:
    def told(_number: int) -> None:
        return None

    hall = Hub()
    watched = hall.source("processes of one", lambda: lambda: 1, 60)
    watched.watch(told)
    for number in range(20):
        other = hall.source(f"processes of {number}", lambda: lambda: 1, 60)
        other.watch(told)
        other.leave(told)
    assert hall.source("processes of one", lambda: lambda: 1, 60) is watched
    assert len(hall._sources) == 2
    watched.close()


@pytest.mark.django_db(transaction=True)
async def test_a_session_that_is_ended_from_elsewhere_takes_its_socket_along(page: Client, host: Engine) -> None:
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await sync_to_async(page.session.delete)()
    assert await communicator.receive_output(timeout=5) == {"type": "websocket.close", "code": 4401}
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_what_another_process_changed_is_seen_by_looking(
    page: Client, host: Engine, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LiveConsumer, "RECHECK_S", 0.2)
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await User.objects.filter(pk=user.pk).aupdate(is_active=False)  # sends no signal
    assert await communicator.receive_output(timeout=5) == {"type": "websocket.close", "code": 4401}
    await communicator.disconnect()


async def frames_of(communicator: WebsocketCommunicator, enough: Callable[[list[dict[str, Any]]], bool]) -> Any:
    """Log frames, each acknowledged, until there are enough."""
    frames: list[dict[str, Any]] = []
    while not enough(frames):
        message = await communicator.receive_json_from(timeout=10)
        frames += message["frames"]
        await communicator.send_json_to({"ack": message["seq"]})
    return frames


def ran(script: str, **options: Any) -> str:
    engine = gateway.engine()
    small_starter(engine)
    container = engine.create(ContainerSpec(image="wharfie/starter", command=("sh", "-c", script), **options))
    return engine.start(container.id).id


@pytest.mark.django_db(transaction=True)
async def test_who_comes_back_gets_what_was_written_meanwhile_and_nothing_twice(page: Client, image: Image) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; [ $((i % 20)) = 0 ] && sleep 0.01; done"
    container = await sync_to_async(ran)(script)
    numbers: list[int] = []
    since, end = "", False
    while not end:  # a connection that breaks after two frames, again and again
        communicator = socket(page, await sync_to_async(fetch_ticket)(page))
        await communicator.connect()
        await communicator.send_json_to({"sub": "logs", "id": container, "tail": 1000, "after": since})
        frames = await frames_of(communicator, lambda got: len(got) >= 2 or bool(got and got[-1]["end"]))
        for frame in frames:
            numbers += [int(line[3]) for line in frame["rows"]]
            since, end = frame["last"], frame["end"]
            assert not frame["gap"]
        await communicator.disconnect()
    assert numbers == list(range(numbers[0], 3001))


@pytest.mark.django_db(transaction=True)
async def test_a_page_behind_a_flood_sees_its_end_and_is_told_how_much_it_missed(page: Client, image: Image) -> None:
    script = "until [ -e /go ]; do sleep 0.05; done; seq 1 400000; echo last; sleep 1000"
    container = await sync_to_async(ran)(script)
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await communicator.send_json_to({"sub": "logs", "id": container})
    await frames_of(communicator, lambda got: len(got) == 1)

    def go() -> None:
        with gateway.engine().exec(container, ExecSpec(("touch", "/go"), stdin=False)) as execution:
            execution.wait()

    await sync_to_async(go)()

    def has_last(got: list[dict[str, Any]]) -> bool:
        return bool(got and got[-1]["rows"] and got[-1]["rows"][-1][3] == "last")

    frames = await frames_of(communicator, has_last)
    rows = [line for frame in frames for line in frame["rows"]]
    assert max(len(frame["rows"]) for frame in frames) <= 1000
    assert all(frame["gap"] >= 0 for frame in frames)
    assert len(rows) + sum(frame["gap"] for frame in frames) == 400_001, "every line is shown or counted"
    assert len(rows) < 50_000
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_long_lines_come_a_few_at_a_time(page: Client, image: Image) -> None:
    script = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); printf '%s %050000d\\n' $i 0; done"
    container = await sync_to_async(ran)(script)
    await sync_to_async(gateway.engine().wait)(container)
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    for wish in ({"after": "0.0.-1"}, {"tail": 1000}):
        await communicator.send_json_to({"sub": "logs", "id": container, "nth": 7} | wish)
        frames = await frames_of(communicator, lambda got: bool(got and got[-1]["end"]))
        assert max(len(frame["rows"]) for frame in frames) == 2, "as many as fit into a frame, and no line cut in two"
        assert {frame["nth"] for frame in frames} == {7}
        numbers = [int(row[3].split()[0]) for frame in frames for row in frame["rows"]]
        assert numbers == list(range(1 if "after" in wish else 39, 41))
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_who_saw_an_empty_log_has_lost_nothing_when_it_begins(page: Client, image: Image) -> None:
    engine = gateway.engine()
    await sync_to_async(small_starter)(engine)
    spec = ContainerSpec(image="wharfie/starter", command=("seq", "3000"))
    container = (await sync_to_async(engine.create)(spec)).id
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    place = await sync_to_async(lambda: engine.log_pages(container).before(None, 10, ended=True).last)()
    await communicator.send_json_to({"sub": "logs", "id": container, "after": str(place)})
    await frames_of(communicator, lambda got: len(got) == 1)
    await sync_to_async(engine.start)(container)
    frames = await frames_of(communicator, lambda got: any(frame["rows"] for frame in got) and got[-1]["end"])
    assert [frame["gap"] for frame in frames] == [0] * len(frames)
    assert [row[3] for frame in frames for row in frame["rows"]] == [str(number) for number in range(1, 3001)]
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_a_live_page_is_told_in_its_language_why_it_gets_no_log(page: Client, image: Image) -> None:
    container = await sync_to_async(ran)("true")
    page.cookies[settings.LANGUAGE_COOKIE_NAME] = "zh-hans"
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await communicator.send_json_to({"sub": "logs", "id": container, "q": "(", "regex": "1"})
    [frame] = await frames_of(communicator, lambda got: len(got) == 1)
    assert frame["error"].startswith("不是有效的正则表达式")
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_following_a_search_brings_the_hits_alone(page: Client, image: Image) -> None:
    container = await sync_to_async(ran)("seq 1 500; echo \033[31mfive hundred and five: 505\033[0m")
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await communicator.send_json_to({"sub": "logs", "id": container, "q": "0?5$", "regex": "1", "tail": 3})
    frames = await frames_of(communicator, lambda got: bool(got and got[-1]["end"]))
    shown = [line[3] for frame in frames for line in frame["rows"]]
    assert shown[-3:-1] == [[["48", ""], ["5", "hit"]], [["49", ""], ["5", "hit"]]]
    assert shown[-1] == [["five hundred and five: 5", "f1"], ["05", "f1 hit"]]
    await communicator.send_json_to({"sub": "logs", "id": container, "q": "(", "regex": "1"})
    [frame] = await frames_of(communicator, lambda got: len(got) == 1)
    assert "Not a regular expression" in frame["error"]
    await communicator.disconnect()


def sample(second: int, cpu_s: float) -> Sample:
    return Sample(second * 10**9, int(cpu_s * 10**9), 100, 200, 3, 2.0)


def test_a_rate_is_the_difference_of_two_samples() -> None:
    rates = Rates()
    assert rates.update({"a": sample(1, 5)})["a"]["cpu"] is None
    assert rates.update({"a": sample(3, 6)})["a"]["cpu"] == 0.5


def test_a_counter_that_went_back_is_no_rate() -> None:
    rates = Rates()
    rates.update({"a": sample(1, 5)})
    assert rates.update({"a": sample(2, 1)})["a"]["cpu"] is None
