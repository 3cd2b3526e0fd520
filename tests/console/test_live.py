"""The websocket: who gets one, and what it carries."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.test import Client

from console import gateway
from console.accounts.models import User
from console.live import tickets
from console.live.consumer import LiveConsumer
from console.live.lines import BEHIND, FRAME, Backlog
from console.live.numbers import Rates
from console.live.outbox import Outbox
from console.live.source import Source
from engine import ContainerSpec, Engine, Image, LogLine, Sample

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
@pytest.mark.parametrize(
    "text", ["[]", "nonsense", '{"sub":"all"}', '{"sub":"logs","id":"../x"}', '{"ack":"x"}', '{"sub":[]}']
)
async def test_a_message_without_sense_ends_the_connection(page: Client, host: Engine, text: str) -> None:
    communicator = socket(page, await sync_to_async(fetch_ticket)(page))
    await communicator.connect()
    await communicator.send_to(text_data=text)
    assert await communicator.receive_output() == {"type": "websocket.close", "code": 4400}
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_the_log_of_an_ended_container_comes_whole_and_ends(page: Client, image: Image) -> None:
    def run() -> str:
        engine = gateway.engine()
        engine.make_starter_image()
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
            lines += [line[1:] for line in frame["lines"]]
            end = frame["end"]
        await communicator.send_json_to({"ack": message["seq"]})
    assert sorted(lines) == [["e", "err"], ["o", "nonl"], ["o", "out"]]
    assert lines[-1] == ["o", "nonl"]
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


class Tail:
    """A log that holds ``count`` lines from the start."""

    finished = False

    def __init__(self, count: int, lost_at: int = -1) -> None:
        self._lines = iter([LogLine(0, "stdout", str(n), 7 if n == lost_at else 0) for n in range(count)])

    def read(self, max_lines: int) -> list[LogLine]:
        return [line for _, line in zip(range(max_lines), self._lines, strict=False)]


def drained(tail: Tail) -> tuple[list[int], int, int]:
    """The lines' numbers, how many were told missing, and the longest frame."""
    backlog, numbers, gaps, longest = Backlog(tail), [], 0, 0  # type: ignore[arg-type]
    backlog.fill()
    while not backlog.empty:
        batch, gap = backlog.take()
        numbers += [int(line[2]) for line in batch]
        gaps, longest = gaps + gap, max(longest, len(batch))
    return numbers, gaps, longest


@pytest.mark.parametrize("count", [0, 1, FRAME, FRAME + 1, BEHIND])
def test_a_reader_that_keeps_up_gets_every_line_in_frames(count: int) -> None:
    numbers, gap, longest = drained(Tail(count))
    assert (numbers, gap) == (list(range(count)), 0)
    assert longest <= FRAME


def test_a_reader_far_behind_loses_the_middle_and_is_told_how_much() -> None:
    numbers, gap, _longest = drained(Tail(BEHIND * 3))
    assert numbers[-1] == BEHIND * 3 - 1
    assert gap + len(numbers) == BEHIND * 3


def test_lines_lost_to_rotation_are_told_before_the_line_that_follows_them() -> None:
    backlog = Backlog(Tail(4, lost_at=2))  # type: ignore[arg-type]
    backlog.fill()
    assert [(len(lines), gap) for lines, gap in (backlog.take(), backlog.take())] == [(2, 0), (2, 7)]


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
