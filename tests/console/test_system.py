"""Overview, events, system, backups and the answer to monitors."""

from __future__ import annotations

import sqlite3
import tarfile
from typing import Any

import pytest
from django.test import AsyncClient, Client

from console import disk, gateway, jobs
from console.accounts.models import User
from console.containers.filters import FILTERS
from console.disk import Room
from console.jobs.models import Record
from engine import ContainerSpec, Engine, HealthCheck, Image, RestartMode, RestartPolicy
from tests.conftest import eventually
from tests.console.conftest import PASSWORD
from tests.images import small_starter

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def member(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_user("sailor", password=PASSWORD))
    return client


def test_an_act_is_told_with_who_did_it(page: Client, member: Client, host: Engine) -> None:
    page.post("/volumes/", {"name": "rope"})
    member.post("/volumes/", {"name": "sail"})
    assert [event.by for event in host.events()] == ["captain", "sailor"]
    shown = page.get("/events/?by=sailor").content.decode()
    assert "sail" in shown
    assert shown.count("<tr>") == 2


def test_events_are_paged_by_their_number(page: Client, host: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.eventlog.PAGE", 2)
    for number in range(5):
        host.create_volume(f"box-{number}")

    def names(query: str) -> tuple[list[str], str]:
        context = page.get(f"/events/?{query}").context
        return [event.name for event in context["events"]], context["older"]

    first, older = names("kind=volume")
    assert first == ["box-4", "box-3"]
    host.create_volume("meanwhile")
    second, older = names(older)
    assert second == ["box-2", "box-1"], "what came meanwhile moves nothing"
    assert names(older) == (["box-0"], "")
    assert names("kind=image")[0] == []
    assert names("from=2999-01-01T00:00")[0] == []
    assert "None match" in page.get("/events/?until=2001-01-01T00:00").content.decode()
    assert page.get("/events/?from=nonsense&before=-1&kind=x").status_code == 200


def test_a_container_has_its_own_events_as_a_tab(page: Client, image: Image, engine: Engine) -> None:
    for name in ("web", "db"):
        engine.create(ContainerSpec(image="team/empty:1", name=name))
    engine.rename("web", "site")
    shown = page.get("/containers/site/events/")
    assert [event.action for event in shown.context["events"]] == ["rename", "create"]
    assert "was called web" in shown.content.decode()
    assert "<html" not in page.get("/containers/site/events/", headers=HTMX).content.decode()


def test_the_overview_says_what_is_wrong_and_who_uses_the_most(page: Client, image: Image, user: User) -> None:
    engine = gateway.engine()
    small_starter(engine)
    well = engine.create(ContainerSpec(image="wharfie/starter", name="well", command=("sleep", "1000")))
    engine.start(well.id)
    assert "All is well" in page.get("/").content.decode()
    bad = engine.create(ContainerSpec(image="wharfie/starter", name="ailing", command=("sh", "-c", "exit 3")))
    engine.start(bad.id)
    engine.wait(bad.id, 30)
    Record.objects.create(
        title="Sink the ship", owner=user, status="failed", error="the tide is out", ended_at_ns=2**62
    )
    answer = page.get("/")
    assert [trouble["name"] for trouble in answer.context["troubles"]] == ["ailing", "Sink the ship"]
    shown = answer.content.decode()
    for words in ("2 things need a look", "Exit code 3", "The tide is out", "What happened last"):
        assert words in shown
    _cpu, memory, _disk = answer.context["users"]
    assert [row["container"].name for row in memory["rows"]] == ["well"]
    refreshed = page.get("/users-of-most/").content.decode()
    assert f'data-id="{well.id}" data-running' in refreshed
    assert "<html" not in refreshed
    engine.start(bad.id)
    engine.wait(bad.id, 30)
    engine.remove(bad.id)
    assert [trouble["name"] for trouble in page.get("/").context["troubles"]] == ["Sink the ship"]


def test_what_ails_says_since_when(page: Client, image: Image) -> None:
    engine = gateway.engine()
    small_starter(engine)
    check = HealthCheck(("sh", "-c", "echo no answer; exit 1"), interval_s=0.1, retries=1)
    sick = ContainerSpec(image="wharfie/starter", name="sick", command=("sleep", "1000"), health=check)
    always = RestartPolicy(RestartMode.ALWAYS)
    loop = ContainerSpec(image="wharfie/starter", name="loop", command=("sh", "-c", "exit 3"), restart=always)
    for spec in (sick, loop):
        engine.start(engine.create(spec).id)
    assert eventually(lambda: engine.health_changes("sick"), timeout_s=20)
    assert eventually(lambda: engine.inspect("loop").state == "restarting" and engine.inspect("loop").restarts > 3)
    since = {each["name"]: each["time_ns"] for each in page.get("/").context["troubles"]}
    assert since["sick"] == engine.health_changes("sick")[0].time_ns
    assert "loop" not in since or since["loop"]
    shown = page.get("/containers/sick/").content.decode()
    assert "Its health check fails. It ended with exit code 1." in shown
    assert "unhealthy for <time" in shown, "it is said by a clock that goes on"
    assert '<p class="why mono">no answer</p>' in shown
    (failed,) = [each for each in FILTERS if each.value == "failed"]
    assert failed.count({"restarting": 1, "failed": 1, "running": 5}) == 2


@pytest.mark.parametrize(
    ("room", "warns"),
    [
        (Room(used=89 * 2**30, free=11 * 2**30), False),
        (Room(used=90 * 2**30, free=10 * 2**30), True),
        (Room(used=10 * 2**30, free=2 * 2**30 - 1), True),
        (Room(used=10 * 2**30, free=2 * 2**30), False),
    ],
)
def test_a_disk_that_is_nearly_full_is_said_on_every_page(
    page: Client, host: Engine, monkeypatch: pytest.MonkeyPatch, room: Room, warns: bool
) -> None:
    monkeypatch.setattr(disk, "room", lambda: room)
    for path in ("/", "/images/", "/jobs/"):
        assert ("The disk is nearly full" in page.get(path).content.decode()) == warns


def test_the_system_page_counts_the_disk_and_names_what_is_wrong(
    page: Client, member: Client, image: Image, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = gateway.engine()
    engine.create_volume("data")
    counter = disk.Counter()
    monkeypatch.setattr(disk, "counter", counter)
    assert "being counted" in page.get("/system/").content.decode()
    counter._count()
    assert member.post("/system/disk/count/").status_code == 403
    assert page.post("/system/disk/count/")["Location"] == "/system/#disk"
    (engine.paths.root / "volumes/stray").mkdir()
    settings.PATHS.console_log.write_text("2026-01-01 00:00:00Z WARNING console: a \x1b[31mleak\n")
    shown = page.get("/system/").content.decode()
    for words in ("data", "Logs of containers", "volumes/stray", "WARNING console: a leak", "How to restore one"):
        assert words in shown
    seen = member.get("/system/").content.decode()
    assert "WARNING console" not in seen
    assert "Back up now" not in seen


@pytest.mark.django_db(transaction=True)
def test_a_backup_is_made_as_a_job_and_only_admins_have_it(
    page: Client, member: Client, image: Image, settings: Any
) -> None:
    settings.PATHS = gateway.engine().paths
    assert member.post("/system/backups/").status_code == 403
    answer = page.post("/system/backups/", {"volumes": "yes"})
    record = jobs.finished(Record.objects.get(pk=answer["Location"].rstrip("/").rpartition("/")[2]))
    assert record.status == "done", record.error
    (path,) = settings.PATHS.backups.glob("*.tar")
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert "state.db" in names
    assert not any(name.startswith("layers/") for name in names), "without images"
    assert path.name in page.get("/system/").content.decode()
    address = f"/system/backups/{path.name}"
    for refused in (member.get(address), member.post(f"{address}/remove/")):
        assert refused.status_code == 403
    assert page.get("/system/backups/console-v3-20260101T000000Z.db").status_code == 404
    assert "Copies elsewhere stay" in page.get(f"{address}/remove/").content.decode()
    assert path.exists()
    assert page.post(f"{address}/remove/").status_code == 303
    assert not path.exists()


@pytest.mark.django_db(transaction=True)
async def test_a_backup_is_downloaded_whole(user: User, settings: Any) -> None:
    settings.PATHS.backups.mkdir()
    (settings.PATHS.backups / "wharfie-20260101T000000Z.tar").write_bytes(b"x" * 1_000_000)
    client = AsyncClient()
    await client.aforce_login(user)
    answer = await client.get("/system/backups/wharfie-20260101T000000Z.tar")
    assert sum([len(piece) async for piece in answer.streaming_content]) == 1_000_000
    answer.close()


def test_a_monitor_learns_one_word_and_signs_in_nowhere(
    client: Client, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> tuple[int, bytes]:
        answer = client.get("/healthz")
        return answer.status_code, answer.content

    assert asked() == (200, b"ok\n")
    monkeypatch.setattr(gateway.engine().paths, "launcher_lock", gateway.engine().paths.run / "other.lock")
    assert asked() == (503, b"launcher\n")

    def broken(*_arguments: object) -> None:
        raise sqlite3.OperationalError("secret path")

    monkeypatch.setattr("django.db.backends.sqlite3.base.SQLiteCursorWrapper.execute", broken)
    assert asked() == (503, b"database\n")
