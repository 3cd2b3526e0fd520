"""The websocket of a terminal: who gets it, what goes through, and who waits for whom."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.test import Client

from console import door, gateway
from console.accounts.models import User
from console.containers.terminals.consumer import TerminalConsumer
from engine import ContainerSpec, Engine, EventFilter, ExecSpec, Security
from engine.containers import execution
from tests import leaks
from tests.conftest import eventually, stand_still
from tests.console.conftest import PASSWORD
from tests.console.test_live import HOST, fetch_ticket
from tests.engine.images.archives import tar
from tests.images import BUSYBOX, small_starter

OPENED = Security(cap_add=("NET_ADMIN",))


@pytest.fixture
def host(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The console's engine, with a launcher that can start."""
    monkeypatch.setattr(gateway, "_engine", engine)
    return engine


@pytest.fixture
def sea(host: Engine) -> Iterator[str]:
    """The id of a running container."""
    small_starter(host)
    container = host.start(host.create(ContainerSpec(image="wharfie/starter", command=("sleep", "1000"))).id)
    yield container.id
    host.remove(container.id, force=True)


def opened(engine: Engine, container: str, *command: str) -> str:
    """The session of a new terminal, with nobody in front of it."""
    terminal = engine.terminal(container, ExecSpec(command))
    terminal.close()
    session: str = terminal.info.session
    return session


def socket(client: Client, ticket: str, container: str, session: str) -> WebsocketCommunicator:
    from console.asgi import application

    cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    headers = [(b"host", HOST.encode()), (b"cookie", cookie.encode()), (b"origin", f"http://{HOST}".encode())]
    return WebsocketCommunicator(application, f"/terminals/{container}/{session}/?ticket={ticket}", headers=headers)


async def until(page: WebsocketCommunicator, text: bytes) -> bytes:
    """What is shown, up to ``text``; says that it is drawn, as a page does."""
    seen = b""
    while text not in seen:
        message = await page.receive_output(timeout=20)
        assert message["type"] == "websocket.send", message
        shown = message.get("bytes") or b""
        seen += shown
        await page.send_to(text_data=json.dumps({"drawn": len(shown)}))
    return seen


@pytest.mark.django_db(transaction=True)
async def test_programs_that_read_nothing_hold_up_no_thread_and_no_other_page(
    page: Client, host: Engine, sea: str
) -> None:
    """However much is pasted: asyncio has as many threads as processors and a few more, for all of the console."""
    pages = []
    for _ in range((os.cpu_count() or 1) + 5):
        session = await sync_to_async(opened)(host, sea, "sleep", "1000")
        communicator = socket(page, await sync_to_async(fetch_ticket)(page), sea, session)
        assert (await communicator.connect())[0]
        for _ in range(40):
            await communicator.send_to(bytes_data=b"a line\r" * 1500)
        pages.append(communicator)
    session = await sync_to_async(opened)(host, sea, "sh")
    communicator = socket(page, await sync_to_async(fetch_ticket)(page), sea, session)
    assert (await communicator.connect())[0]
    await communicator.send_to(bytes_data=b"echo he''re\r")
    await until(communicator, b"here")
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
    for each in (communicator, *pages):
        await each.disconnect()
    assert not door._inside


@pytest.mark.django_db(transaction=True)
async def test_what_is_typed_arrives_and_what_is_shown_comes_back(page: Client, host: Engine, sea: str) -> None:
    session = await sync_to_async(opened)(host, sea, "sh")
    communicator = socket(page, await sync_to_async(fetch_ticket)(page), sea, session)
    assert (await communicator.connect())[0]
    await communicator.send_to(text_data='{"rows": 31, "columns": 97}')
    await communicator.send_to(bytes_data=b"stty size; exit 4\r")
    await until(communicator, b"31 97\r\n")
    message = await communicator.receive_output(timeout=20)
    while message.get("bytes"):
        message = await communicator.receive_output(timeout=20)
    assert json.loads(message["text"]) == {"exit": 4}
    await communicator.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_a_stranger_gets_none(page: Client, host: Engine, sea: str) -> None:
    session = await sync_to_async(opened)(host, sea, "cat")
    for client, ticket in ((page, "wrong"), (Client(), await sync_to_async(fetch_ticket)(page))):
        assert await socket(client, ticket, sea, session).connect() == (False, 4403)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("session", ["0" * 12, "x", "..", "%2e%2e"])
async def test_what_is_not_open_says_so(page: Client, host: Engine, sea: str, session: str) -> None:
    communicator = socket(page, await sync_to_async(fetch_ticket)(page), sea, session)
    assert (await communicator.connect())[0]
    assert await communicator.receive_output(timeout=10) == {"type": "websocket.close", "code": 4404}


@pytest.mark.django_db(transaction=True)
async def test_who_may_not_enter_is_told_so_and_not_what_runs(host: Engine, sea: str) -> None:
    """Commands may hold what is nobody else's; and to be refused is not to be told that it has ended."""
    spec = ContainerSpec(image="wharfie/starter", name="deep", command=("sleep", "1000"), security=OPENED)
    deep = (await sync_to_async(host.start)((await sync_to_async(host.create)(spec)).id)).id
    session = await sync_to_async(opened)(host, deep, "sleep", "98765")
    await sync_to_async(User.objects.create_user)("mate", password=PASSWORD)
    mate = Client()
    await sync_to_async(mate.post)("/sign-in/", {"username": "mate", "password": PASSWORD})
    for address in (f"/containers/{deep}/terminals/", f"/containers/{deep}/terminals/{session}/"):
        answer = await sync_to_async(mate.get)(address)
        assert answer.status_code == 403
        assert "for admins only, because of --cap-add" in answer.content.decode()
        assert "98765" not in answer.content.decode()
    assert (await sync_to_async(mate.get)(f"/containers/{deep}/terminals/{session}/end/")).status_code == 403
    communicator = socket(mate, await sync_to_async(fetch_ticket)(mate), deep, session)
    assert (await communicator.connect())[0]
    assert await communicator.receive_output(timeout=10) == {"type": "websocket.close", "code": 4403}
    await sync_to_async(host.remove)(deep, force=True)


@pytest.mark.django_db(transaction=True)
async def test_one_that_does_not_answer_has_not_ended(
    page: Client, host: Engine, sea: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await sync_to_async(opened)(host, sea, "cat")
    monkeypatch.setattr(execution, "ANSWER_S", 0.2)
    (server,) = [pid for pid in leaks.Host().pids if leaks.read(f"/proc/{pid}/comm").startswith(b"exec ")]
    stand_still(server)
    try:
        communicator = socket(page, await sync_to_async(fetch_ticket)(page), sea, session)
        assert (await communicator.connect())[0]
        assert await communicator.receive_output(timeout=10) == {"type": "websocket.close", "code": 1011}
    finally:
        os.kill(server, signal.SIGCONT)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("nonsense", ["{", "[]", "1", '{"rows": 1}', '{"drawn": "x"}', '{"rows": "a", "columns": 2}'])
async def test_nonsense_ends_the_connection_and_not_the_program(
    page: Client, host: Engine, sea: str, nonsense: str
) -> None:
    session = await sync_to_async(opened)(host, sea, "cat")
    communicator = socket(page, await sync_to_async(fetch_ticket)(page), sea, session)
    assert (await communicator.connect())[0]
    await communicator.send_to(text_data=nonsense)
    assert await communicator.receive_output(timeout=10) == {"type": "websocket.close", "code": 4400}
    await communicator.disconnect()
    assert [info.session for info in await sync_to_async(host.terminals)(sea)] == [session]


@pytest.mark.django_db(transaction=True)
async def test_a_page_that_draws_nothing_is_sent_no_more(page: Client, host: Engine, sea: str) -> None:
    session = await sync_to_async(opened)(host, sea, "sh", "-c", "sleep 0.5; yes | head -c 1500000; echo done; cat")
    communicator = socket(page, await sync_to_async(fetch_ticket)(page), sea, session)
    assert (await communicator.connect())[0]
    sent = len((await communicator.receive_output(timeout=20))["bytes"])
    while not await communicator.receive_nothing(timeout=2):
        sent += len((await communicator.receive_output(timeout=2))["bytes"])
    most = TerminalConsumer.MOST_UNDRAWN_BYTES
    assert most <= sent <= most + 2 * 65536
    await communicator.disconnect()


@pytest.mark.django_db
def test_a_paused_container_goes_on_and_a_restarted_one_is_new(page: Client, host: Engine, sea: str) -> None:
    address, first = f"/containers/{sea}/", host.inspect(sea).pid
    assert page.post(f"{address}pause/").status_code == 302
    shown = page.get(address).content.decode()
    assert host.inspect(sea).state == "paused"
    assert all(word in shown for word in ("Paused", "Unpause", "Restart", "Stop"))
    assert "Pause</button>" not in shown
    assert page.post(f"{address}pause/").status_code == 409
    assert page.get(f"{address}terminals/").status_code == 200
    assert page.post(f"{address}unpause/").status_code == 302
    assert (host.inspect(sea).state, host.inspect(sea).pid) == ("running", first)
    assert page.post(f"{address}unpause/").status_code == 409
    host.kill(sea, "KILL")
    host.wait(sea, timeout_s=10)
    assert page.post(f"{address}pause/").status_code == 409
    assert page.post(f"{address}restart/").status_code == 302
    assert host.inspect(sea).pid not in (None, first)


@pytest.mark.django_db
def test_the_page_opens_comes_back_and_hangs_up(page: Client, host: Engine, sea: str) -> None:
    address = f"/containers/{sea}/terminals/"
    assert "Open a terminal" in page.get(address).content.decode()
    refused = page.post(address, {"command": "no-such-program"})
    assert "no-such-program" in refused.content.decode()
    assert host.terminals(sea) == []
    answer = page.post(address, {"command": "cat", "user": "1000"})
    (info,) = host.terminals(sea)
    assert (info.command, info.user) == (("cat",), "1000")
    assert [event.name for event in host.find_events(EventFilter(action="terminal"))] == [host.inspect(sea).name]
    assert answer.headers["Location"] == f"{address}{info.session}/"
    assert page.get(address).headers["Location"] == answer.headers["Location"]
    assert f"/terminals/{sea}/{info.session}/" in page.get(answer.headers["Location"]).content.decode()
    asked = page.get(f"{address}{info.session}/end/").content.decode()
    assert "Hang up the terminal" in asked
    page.post(f"{address}{info.session}/end/")
    assert eventually(lambda: host.terminals(sea) == [])
    gone = page.get(answer.headers["Location"])
    assert gone.status_code == 404
    assert "has ended" in gone.content.decode()
    assert page.post(f"{address}{info.session}/end/").status_code == 404
    assert Client().get(address).status_code == 302


@pytest.fixture
def bare(host: Engine, tmp_path: Path) -> Iterator[str]:
    """The id of a running container whose image is one program."""
    with tarfile.open(tmp_path / "bare.tar", "w") as tar:
        tar.add(BUSYBOX, "sleep")
    host.load_image(tmp_path / "bare.tar", name="bare")
    container = host.start(host.create(ContainerSpec(image="bare", command=("/sleep", "1000"))).id)
    yield container.id
    host.remove(container.id, force=True)


def test_an_image_without_a_shell_is_offered_the_toolbox(page: Client, host: Engine, bare: str) -> None:
    address = f"/containers/{bare}/terminals/"
    before = page.get(address).content.decode()
    assert "This image has no shell." in before
    assert 'action="/images/starter/"' in before
    assert "Open a terminal" not in before
    refused = page.post(address, {"toolbox": "on"}).content.decode()
    assert "wharfie/starter:latest, which is not here" in refused
    small_starter(host)
    assert "Open the toolbox" in page.get(address).content.decode()
    answer = page.post(address, {"toolbox": "on"})
    (info,) = host.terminals(bare)
    assert info.toolbox
    shown = page.get(answer.headers["Location"]).content.decode()
    assert "Toolbox</a>" in shown.replace("\n", "")
    page.post(f"{address}{info.session}/end/")
    assert eventually(lambda: host.terminals(bare) == [])


def test_an_image_with_shells_names_them(page: Client, host: Engine, sea: str) -> None:
    shown = page.get(f"/containers/{sea}/terminals/").content.decode()
    assert "<option>ash</option><option>sh</option>" in shown
    host.files.copy_in(sea, "/bin", io.BytesIO(tar({"bash": b""})))
    shown = page.get(f"/containers/{sea}/terminals/").content.decode()
    assert "<option>bash</option><option>ash</option><option>sh</option>" in shown, "the most comfortable first"
    assert "This image has no shell." not in shown


@pytest.mark.parametrize(("env", "spoken"), [((), "C.UTF-8"), (("LC_ALL=POSIX",), ""), (("LANG=de_DE",), "de_DE")])
def test_a_shell_takes_what_a_browser_types_for_letters(
    page: Client, host: Engine, env: tuple[str, ...], spoken: str
) -> None:
    small_starter(host)
    command = ("sleep", "1000")
    made = host.start(host.create(ContainerSpec(image="wharfie/starter", command=command, env=env)).id)
    page.post(f"/containers/{made.id}/terminals/", {"command": "sh -c 'echo \"<$LANG>\"; cat'"})
    (info,) = host.terminals(made.id)
    terminal = host.attach(made.id, info.session)
    seen = b""
    while b">" not in seen:
        seen += terminal.read()
    terminal.close()
    assert f"<{spoken}>".encode() in seen
    host.remove(made.id, force=True)
