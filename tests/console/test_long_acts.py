"""Clones, images of containers, backups, acts on many, long stops: cancelled, and killed with the console."""

from __future__ import annotations

import os
import re
import signal
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from console import gateway, jobs
from console.accounts.models import User
from console.containers import bulk
from console.jobs import running
from console.jobs.models import Record
from console.jobs.work import Job, news
from engine import Config, ContainerSpec, Engine, Image, State, VolumeMount
from tests.conftest import eventually
from tests.console import serving
from tests.console.serving import Serve, Visitor
from tests.images import small_starter

pytestmark = pytest.mark.django_db(transaction=True)
SETUP = "head -c 30000000 /dev/urandom > /made; head -c 30000000 /dev/urandom > /data/made; echo up; sleep 1000"
SPEC = ContainerSpec(
    image="wharfie/starter", name="web", command=("sh", "-c", SETUP), volumes=(VolumeMount("cargo", "/data"),),
    stop_timeout_s=0,
)  # fmt: skip


@pytest.fixture
def dock(image: Image, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """With a container ``web`` that runs, and has changed something of its image and in its volume."""
    monkeypatch.setattr("engine.archives.streams.SAID_S", 0.0)
    engine = gateway.engine()
    small_starter(engine)
    engine.create_volume("cargo")
    engine.start(engine.create(SPEC).id)
    assert next(engine.logs("web", follow=True)).text == "up"
    return engine


def there(engine: Engine) -> tuple[int, int, list[tuple[str, State]], list[str]]:
    """What there is of images, volumes and containers, and in the directory of what is half made."""
    containers = sorted((each.name, each.state) for each in engine.containers())
    places = filter(Path.is_dir, (engine.paths.tmp, engine.paths.backups))
    half = [path.name for place in places for path in place.iterdir()]
    return len(engine.images()), len(engine.volumes()), containers, half


@contextmanager
def cancelled_at(words: str) -> Iterator[list[str]]:
    """Press "Cancel" as soon as a job says that it does this; all that jobs said."""
    said: list[str] = []

    def hear(sender: Any, record: Record, **_: Any) -> None:
        said.append(record.step)
        if record.step.startswith(words) and said.count(record.step) == 1:  # pressing it is told, too
            running.cancel(record)

    news.connect(hear, sender=Job, weak=False)
    try:
        yield said
    finally:
        news.disconnect(hear, sender=Job)


def newest() -> Record:
    return jobs.finished(Record.objects.first())


CLONE = ("/containers/web/clone/", {"name": "twin", "start": "on"})
COMMIT = ("/containers/web/commit/", {"name": "team/made:1", "pause": "on"})
BACKUP = ("/system/backups/", {"volumes": "yes"})


@pytest.mark.parametrize(
    ("form", "at"),
    [(CLONE, "Reading what it changed: "), (CLONE, "Copying volume cargo: "), (CLONE, "Creating"),
     (COMMIT, "Reading what it changed: "), (COMMIT, "Unpacking the layer: "), (COMMIT, "Writing the image"),
     (BACKUP, "Saving containers/"), (BACKUP, "Saving volumes/cargo, 2 of 2: ")],
)  # fmt: skip
def test_a_cancelled_one_says_so_and_leaves_nothing(
    page: Client, dock: Engine, form: tuple[str, dict[str, str]], at: str
) -> None:
    before = there(dock)
    with cancelled_at(at) as said:
        assert page.post(*form).status_code == (303 if form is CLONE else 302)
        record = newest()
    assert said[-1].startswith(at), "it went on"
    assert (record.status, record.results) == ("cancelled", [])
    assert "It was cancelled" in page.get(record.get_absolute_url()).content.decode()
    assert "Run again" in page.get(record.get_absolute_url()).content.decode()
    assert there(dock) == before


@pytest.mark.parametrize("form", [CLONE, COMMIT])
def test_one_that_lost_its_process_is_begun_again_and_comes_to_the_same_end(
    page: Client, dock: Engine, form: tuple[str, dict[str, str]]
) -> None:
    page.post(*form)
    record = newest()
    assert record.status == "done", record.error
    images, volumes, containers, half = there(dock)
    Record.objects.filter(pk=record.pk).update(status="running", results=[])  # killed before it could write that down
    jobs.recover()
    again = jobs.finished(record)
    assert (again.status, again.attempts) == ("done", 2)
    assert there(dock)[1:] == (volumes, containers, half)
    if form is CLONE:
        assert (len(dock.images()), dict(containers)["twin"]) == (images, State.RUNNING)


def orphan(user: User, work: Callable[..., Any], **arguments: Any) -> Record:
    """A job whose process was killed: on record it runs, and nobody holds its lock."""
    kind = f"{work.__module__}:{work.__qualname__}"
    record = Record(title="x", owner=user, kind=kind, arguments=arguments)
    held = record.files.hold()
    assert held is not None
    os.close(held)
    record.save(force_insert=True)
    return record


def test_an_act_on_many_goes_on_with_the_rest(user: User, dock: Engine) -> None:
    spec = ContainerSpec(image="wharfie/starter", command=("sleep", "1000"), stop_timeout_s=0)
    done, missing, gone = (dock.create(spec) for _ in range(3))
    since = time.time_ns()
    before = dock.start(done.id)
    dock.remove(gone.id)
    ids = [done.id, missing.id]
    assert end_of(orphan(user, bulk.do, act="restart", ids=ids, since_ns=since)) == "done"
    assert dock.inspect(done.id).pid == before.pid, "it was restarted since"
    for act, reached in (("pause", State.PAUSED), ("unpause", State.RUNNING), ("stop", State.EXITED)):
        if act != "stop":
            getattr(dock, act)(done.id)
        else:
            dock.stop(done.id, 0)
        assert end_of(orphan(user, bulk.do, act=act, ids=ids, since_ns=since)) == "done"
        assert {dock.inspect(each).state for each in ids} == {reached}
    assert end_of(orphan(user, bulk.do, act="remove", ids=[*ids, gone.id], since_ns=since)) == "done"
    assert [each.name for each in dock.containers()] == ["web"]


def test_work_of_a_closed_account_is_not_taken_up(user: User, dock: Engine) -> None:
    record = orphan(user, bulk.do, act="kill", ids=[dock.inspect("web").id], since_ns=0)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert end_of(record) == "failed"
    assert "is closed" in Record.objects.get(pk=record.pk).error
    assert dock.inspect("web").state is State.RUNNING


def end_of(record: Record) -> str:
    jobs.recover()
    return jobs.finished(record).status


def stubborn(engine: Engine, timeout_s: float) -> None:
    script = "trap 'echo no' TERM; echo up; while :; do sleep 1; done"
    spec = ContainerSpec(image="wharfie/starter", name="mule", command=("sh", "-c", script), stop_timeout_s=timeout_s)
    engine.start(engine.create(spec).id)
    assert next(engine.logs("mule", follow=True)).text == "up"


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_a_stop_without_an_end_holds_no_request_and_can_be_given_up(page: Client, dock: Engine, verb: str) -> None:
    stubborn(dock, -1)
    began = time.monotonic()
    assert page.post(f"/containers/mule/{verb}/").status_code == 302
    assert time.monotonic() - began < 5
    record = Record.objects.get()
    assert record.title == f"{verb.title()} mule"
    assert eventually(lambda: "Stopping" in page.get("/containers/mule/").content.decode())
    page.post(f"/containers/mule/{verb}/")
    assert Record.objects.count() == 1, "it is being stopped already"
    page.post(f"{record.get_absolute_url()}cancel/")
    assert jobs.finished(record).status == "cancelled"
    assert "Stopping" not in page.get("/containers/mule/").content.decode()
    assert dock.inspect("mule").state is State.RUNNING
    page.post(f"/containers/mule/{verb}/")
    page.post("/containers/mule/kill/")
    assert newest().status == "done"
    assert dock.inspect("mule").state is (State.EXITED if verb == "stop" else State.RUNNING)


def test_many_among_which_one_stops_never_are_a_job(page: Client, dock: Engine) -> None:
    stubborn(dock, -1)
    ids = [each.id for each in dock.containers()]
    answer = page.post("/containers/-/bulk/", {"act": "stop", "id": ids})
    record = Record.objects.get()
    assert answer["Location"] == record.get_absolute_url()
    assert eventually(lambda: [line for _time, line in record.files.lines()[0]][:1] == ["web: done"], 30)
    page.post(f"{record.get_absolute_url()}cancel/")
    assert jobs.finished(record).status == "cancelled"


def test_a_console_that_is_killed_in_a_clone_or_a_backup_makes_it_once(config: Config, serve: Serve) -> None:
    captain = serving.captain(serve)
    with Engine(config) as engine:
        small_starter(engine)
        engine.create_volume("cargo")
        engine.start(engine.create(SPEC).id)
        assert next(engine.logs("web", follow=True)).text == "up"
        with open(engine.paths.volume("cargo") / "much", "wb") as file:
            for _ in range(300):
                file.write(os.urandom(2**20))
        captain.post("/containers/web/clone/", name="twin")
        killed_and_done(serve, captain, "Copying volume cargo")
        twin = engine.inspect("twin")
        assert [mount.volume for mount in twin.spec.volumes] == ["twin-cargo"]
        assert (engine.paths.volume("twin-cargo") / "much").stat().st_size == 300 * 2**20
        assert sorted(volume.name for volume in engine.volumes()) == ["cargo", "twin-cargo"]
        assert len([image for image in engine.images() if "clone/" in str(image.tags)]) == 1
        assert engine.inspect("web").state is State.RUNNING
        assert list(engine.paths.tmp.iterdir()) == []
        for container in engine.containers():
            engine.remove(container.id, force=True)
        engine.remove_volume("twin-cargo")

        os.truncate(engine.paths.volume("cargo") / "much", 100 * 2**20)  # which takes as long to compress
        captain.post("/system/backups/", "/system/", volumes="yes")
        killed_and_done(serve, captain, "Saving volumes/cargo, 1 of 1: ")
        (made,) = (path for path in engine.paths.backups.iterdir() if path.suffix == ".tar")
        with tarfile.open(made) as archive:
            assert {"state.db", "console.db", "volumes/cargo.tar.gz"} <= set(archive.getnames())
        assert list(engine.paths.tmp.iterdir()) == []
        assert list(engine.paths.jobs.glob("*/scratch")) == []


def killed_and_done(serve: Serve, captain: Visitor, words: str) -> None:
    """Kill the console when its newest job says this; the next one sees it through."""
    address = re.search(r"/jobs/\w{16}/", captain.get("/jobs/"))
    assert address
    assert eventually(lambda: words in captain.get(address[0]), 60)
    os.kill(serve.child("web"), signal.SIGKILL)
    assert eventually(lambda: '<span class="state ok">Done</span>' in seen(captain, address[0]), 120)
    assert "attempt 2" in captain.get(address[0])


def seen(visitor: Visitor, path: str) -> str:
    """The page; nothing while nobody serves it."""
    try:
        return visitor.get(path)
    except (OSError, HTTPException):
        return ""
