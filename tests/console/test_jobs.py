"""Jobs: their end is told, whoever asks; a worker that died is not said to run; what is here begins again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient, Client
from django.utils import translation

from console import jobs
from console.accounts.models import User
from console.jobs import running
from console.jobs.models import Record
from engine import Engine, errors
from tests.console.conftest import PASSWORD
from tests.console.test_live import fetch_ticket, socket

pytestmark = pytest.mark.django_db(transaction=True)


class Gate:
    """Work that waits inside until it is let go on."""

    def __init__(self) -> None:
        self.inside, self.go = threading.Event(), threading.Event()

    def __call__(self, job: jobs.Job) -> jobs.Results:
        job.say("waiting")
        job.progress(1, 4, "boxes")
        self.inside.set()
        assert self.go.wait(30)
        job.progress(2, 4, "boxes")
        return [("All boxes", "/containers/")]


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("job-"):
            thread.join(30)


def member(name: str = "sailor") -> Client:
    client = Client()
    client.force_login(User.objects.create_user(name, password=PASSWORD))
    return client


def test_what_the_engine_does_and_why_it_fails_is_told_in_the_language_of_who_began(user: User) -> None:
    def work(job: jobs.Job) -> jobs.Results:
        job.step("Layer 2 of 5: 128 MiB")
        raise errors.InvalidRequest("the archive is empty")

    with translation.override("zh-hans"):
        record = jobs.finished(jobs.begin(user, "Import", work))
    assert record.step == "第 2 层\uff0c共 5 层: 128 MiB"
    assert [text for _ms, text in record.files.lines()[0]] == ["第 2 层\uff0c共 5 层", "失败\uff1a归档为空"]


def test_a_job_is_watched_from_its_begin_to_its_results(page: Client, user: User, gate: Gate) -> None:
    record = jobs.begin(user, "Count the boxes", gate)
    assert gate.inside.wait(30)
    shown = page.get(record.get_absolute_url()).content.decode()
    for words in ("Count the boxes", "Running", "1 / 4 boxes", "waiting", "Cancel job"):
        assert words in shown
    assert "1 job runs" in page.get("/jobs/frame/").content.decode()

    gate.go.set()
    assert jobs.finished(record).status == "done"
    assert "1 result that you have not seen" in page.get("/jobs/frame/").content.decode()
    assert "All boxes" in page.get(record.get_absolute_url()).content.decode()
    assert "0 results" in page.get("/jobs/frame/").content.decode(), "its page was looked at"


def test_a_cancelled_job_stops_where_it_says_how_far_it_is(page: Client, user: User, gate: Gate) -> None:
    record = jobs.begin(user, "x", gate)
    assert gate.inside.wait(30)
    assert page.post(f"{record.get_absolute_url()}cancel/").status_code == 302
    assert "Cancelling" in page.get(record.get_absolute_url()).content.decode()
    gate.go.set()
    assert jobs.finished(record).status == "cancelled"
    assert record.results == []


def test_what_leaves_the_work_is_told_in_words(page: Client, user: User, caplog: pytest.LogCaptureFixture) -> None:
    def refused(job: jobs.Job) -> jobs.Results:
        raise errors.Busy("the crane is away", hint="wait for it")

    def faulty(job: jobs.Job) -> jobs.Results:
        raise ZeroDivisionError("secret of the house")

    record = jobs.finished(jobs.begin(user, "x", refused))
    assert (record.status, record.error, record.hint) == ("failed", "the crane is away", "wait for it")
    record = jobs.finished(jobs.begin(user, "y", faulty))
    assert record.status == "failed"
    assert "secret" not in page.get(record.get_absolute_url()).content.decode()
    assert "secret of the house" in caplog.text


def test_members_see_and_cancel_their_own_and_admins_all(page: Client, user: User, gate: Gate) -> None:
    sailor, stranger = member(), member("stranger")
    record = jobs.begin(User.objects.get(username="sailor"), "Paint the hull", gate)
    assert gate.inside.wait(30)
    address = record.get_absolute_url()
    assert sailor.get(address).status_code == page.get(address).status_code == 200
    for act in ("", "log/", "files/x"):
        assert stranger.get(f"{address}{act}").status_code == 404
    for act in ("cancel", "again", "forget"):
        assert stranger.post(f"{address}{act}/").status_code == 404
    assert "Paint the hull" not in stranger.get("/jobs/").content.decode()
    assert "Paint the hull" in page.get("/jobs/").content.decode()
    assert "Paint the hull" not in page.get("/jobs/?mine=1").content.decode()
    assert not Record.objects.get(pk=record.pk).cancel_asked
    page.post(f"{address}cancel/")
    gate.go.set()
    assert jobs.finished(record).status == "cancelled"
    assert "1 result" in sailor.get("/jobs/frame/").content.decode()
    page.get(address)
    assert "1 result" in sailor.get("/jobs/frame/").content.decode(), "an admin's look is not its owner's"


def test_the_list_is_searched_filtered_and_paged(
    page: Client, user: User, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        Record.objects.create(title=f"Old {number}", owner=user, status="done", started_at_ns=number + 1)
    Record.objects.create(title="Broken", owner=user, status="failed", started_at_ns=9)
    monkeypatch.setattr("console.jobs.views.PAGE", 2)

    def titles(query: str) -> list[str]:
        return [record.title for record in page.get(f"/jobs/{query}").context["rows"]]

    assert titles("") == ["Broken", "Old 4"]
    assert titles("?page=2") == ["Old 3", "Old 2"]
    assert titles("?status=failed") == ["Broken"]
    assert titles("?status=done&q=old&page=3") == titles("?status=done&page=99") == ["Old 0"]
    assert "None match" in page.get("/jobs/?q=nothing").content.decode()


@jobs.repeatable(resumes=True)
def weigh(job: jobs.Job, *, unit: str) -> jobs.Results:
    """Read what was uploaded."""
    with job.open_upload() as file:
        job.say(f"{file.name}: {len(file.read())} {unit}")
    return []


@jobs.repeatable()
def once(job: jobs.Job, *, unit: str) -> jobs.Results:
    """Nothing."""
    job.say(f"{unit} again")
    return []


def orphan(user: User, work: Any, **fields: Any) -> Record:
    """A job whose process was killed: on record it runs, and nobody holds its lock."""
    record = Record(title="x", owner=user, kind=f"{work.__module__}:{work.__qualname__}", arguments={"unit": "bytes"})
    for name, value in fields.items():
        setattr(record, name, value)
    held = record.files.hold()
    assert held is not None
    os.close(held)
    record.save(force_insert=True)
    return record


@pytest.fixture
def our_work(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"{work.__module__}:{work.__qualname__}": work for work in (weigh, once)}
    monkeypatch.setattr(running, "named", known.get)


def test_a_job_that_lost_its_process_goes_on_from_its_upload(user: User, our_work: None) -> None:
    record = orphan(user, weigh, upload_name="box.tar")
    record.files.keep(SimpleUploadedFile("box.tar", b"12345"))
    jobs.recover()
    assert jobs.finished(record).status == "done"
    assert (record.attempts, record.files.upload.exists()) == (2, False)
    assert "box.tar: 5 bytes" in [line for _time, line in record.files.lines()[0]]


def test_what_took_the_console_down_twice_waits_for_somebody(page: Client, user: User, our_work: None) -> None:
    record = orphan(user, weigh, upload_name="box.tar", attempts=2)
    record.files.keep(SimpleUploadedFile("box.tar", b"12345"))
    jobs.recover()
    record.refresh_from_db()
    assert record.status == "interrupted"
    assert "Run again" in page.get(record.get_absolute_url()).content.decode()
    assert page.post(f"{record.get_absolute_url()}again/").status_code == 302
    assert jobs.finished(record).status == "done"


def test_what_cannot_begin_by_itself_is_said_to_be_interrupted(page: Client, user: User, our_work: None) -> None:
    closure, repeatable = orphan(user, once, kind=""), orphan(user, once)
    lost = orphan(user, weigh, upload_name="box.tar")
    jobs.recover()
    for record in (closure, repeatable, lost):
        record.refresh_from_db()
        assert record.status == "interrupted"
    assert "Nothing half made was kept" in page.get(closure.get_absolute_url()).content.decode()
    assert page.post(f"{closure.get_absolute_url()}again/").status_code == 409
    assert page.post(f"{lost.get_absolute_url()}again/").status_code == 409, "its upload is not here"
    assert page.post(f"{repeatable.get_absolute_url()}again/").status_code == 302
    assert jobs.finished(repeatable).status == "done"
    assert "3 results" not in page.get("/jobs/frame/").content.decode()


def test_a_job_that_another_process_works_on_is_left_alone(user: User, our_work: None) -> None:
    record = orphan(user, once)
    held = record.files.hold()
    assert held is not None
    jobs.recover()
    record.refresh_from_db()
    assert record.running
    os.close(held)


def test_a_forgotten_job_takes_its_files_along(page: Client, user: User, gate: Gate) -> None:
    record = jobs.begin(user, "x", gate, upload=SimpleUploadedFile("a", b"1"))
    assert gate.inside.wait(30)
    assert page.post(f"{record.get_absolute_url()}forget/").status_code == 409
    gate.go.set()
    jobs.finished(record)
    assert page.post(f"{record.get_absolute_url()}forget/").status_code == 303
    assert not record.files.directory.exists()
    assert page.get(record.get_absolute_url()).status_code == 404


def test_a_log_is_read_on_from_where_one_was(page: Client, user: User) -> None:
    record = orphan(user, once)
    address = f"{record.get_absolute_url()}log/"
    record.files.say("one\x1b[31m red\ntwo")
    first = page.get(address).json()
    assert [line for _time, line in first["lines"]] == ["one redtwo"]
    record.files.say("three")
    assert [line for _time, line in page.get(f"{address}?after={first['next']}").json()["lines"]] == ["three"]
    assert page.get(f"{address}?after=-1").status_code == 400


async def test_what_a_job_made_is_downloaded_in_pieces(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.downloads.PIECE", 1000)

    def make(job: jobs.Job) -> None:
        (job.output / "box.tar").write_bytes(b"x" * 2500)

    record = await sync_to_async(lambda: jobs.finished(jobs.begin(user, "x", make)))()
    client = AsyncClient()
    await client.aforce_login(user)
    answer = await client.get(f"{record.get_absolute_url()}files/box.tar")
    assert [len(piece) async for piece in answer.streaming_content] == [1000, 1000, 500]
    assert (answer["Content-Length"], answer["Content-Disposition"]) == ("2500", 'attachment; filename="box.tar"')
    for name in ("../log", "..%2flog", "log"):
        assert (await client.get(f"{record.get_absolute_url()}files/{name}")).status_code == 404
    answer.close()


async def test_progress_reaches_the_pages_of_its_owner_and_no_others(page: Client, host: Engine, gate: Gate) -> None:
    def prepare() -> tuple[User, str, Client, str]:
        sailor = member()
        own = User.objects.get(username="captain")
        return own, fetch_ticket(page), sailor, fetch_ticket(sailor)

    own, ticket, sailor, other_ticket = await sync_to_async(prepare)()
    ours, theirs = socket(page, ticket), socket(sailor, other_ticket)
    first = {}
    for communicator in (ours, theirs):
        await communicator.connect()
        await communicator.send_json_to({"sub": "jobs"})
        first[communicator] = await told(communicator)
        assert first[communicator]["of"] == {}
    record = await sync_to_async(jobs.begin)(own, "x", gate)
    frame = await told(ours)
    while frame["of"].get(record.pk, {}).get("words") != "1 / 4 boxes":
        frame = await told(ours)
    assert frame["version"] != first[ours]["version"]
    gate.go.set()
    ended = await told(ours)
    while ended["of"]:
        ended = await told(ours)
    assert ended["version"] != frame["version"]
    assert await theirs.receive_nothing(0.5)
    await sync_to_async(jobs.finished)(record)
    for communicator in (ours, theirs):
        await communicator.disconnect()


async def told(communicator: WebsocketCommunicator) -> dict[str, Any]:
    """The next frame of jobs, drawn."""
    message = await communicator.receive_json_from(timeout=5)
    await communicator.send_json_to({"ack": message["seq"]})
    (frame,) = [frame for frame in message["frames"] if frame["topic"] == "jobs"]
    return frame


def test_an_upload_is_moved_and_not_copied(user: User, tmp_path: Path) -> None:
    from django.core.files.uploadedfile import TemporaryUploadedFile

    upload = TemporaryUploadedFile("box.tar", "application/x-tar", 5, None)
    upload.write(b"12345")
    upload.flush()
    inode = os.stat(upload.temporary_file_path()).st_ino
    seen = []

    def look(job: jobs.Job) -> None:
        with job.open_upload() as file:
            seen.append((os.fstat(file.fileno()).st_ino, file.name, file.read()))

    jobs.finished(jobs.begin(user, "x", look, upload=upload))
    upload.close()
    assert seen == [(inode, "box.tar", b"12345")]
