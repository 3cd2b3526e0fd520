"""The sides of a container that tell how it goes: its health and its figures."""

from __future__ import annotations

import math
import re
import time

import pytest
from django.test import Client

from console import gateway, jobs, points, recorder
from console.jobs.models import Record
from engine import ContainerSpec, Engine, Figure, HealthCheck, Image, Limits, Series
from tests.conftest import eventually
from tests.images import small_starter

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dock(image: Image) -> Engine:
    engine = gateway.engine()
    small_starter(engine)
    return engine


def test_the_check_is_run_when_asked_and_does_not_count(page: Client, dock: Engine) -> None:
    check = HealthCheck(("/bin/sh", "-c", "echo 'so <b>so'; exit 3"), interval_s=3600)
    spec = ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000"), health=check)
    container = dock.start(dock.create(spec).id)
    before = page.get("/containers/web/health/").content.decode()
    assert "Not checked yet" in before
    assert "so &lt;b&gt;so" not in before.partition("Last checks")[2]
    after = page.post("/containers/web/health/").content.decode()
    assert "exit code 3" in after
    assert re.search(r"<pre[^>]*>so &lt;b&gt;so</pre>", after)
    now = dock.inspect(container.id).health
    assert now is not None
    assert now.results == ()


def test_a_check_that_hangs_is_killed(page: Client, dock: Engine) -> None:
    check = HealthCheck(("sleep", "999"), interval_s=3600, timeout_s=0.5)
    spec = ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000"), health=check)
    container = dock.start(dock.create(spec).id)
    assert "took too long" in page.post("/containers/web/health/").content.decode()
    assert eventually(lambda: dock.counters(container.id).pids == 1, timeout_s=10)


def test_checks_and_changes_of_health_are_told(page: Client, dock: Engine) -> None:
    check = HealthCheck(("false",), interval_s=0.1, retries=1)
    spec = ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000"), health=check)
    container = dock.start(dock.create(spec).id)
    assert eventually(lambda: dock.health_changes(container.id), timeout_s=20)
    answer = page.get("/containers/web/health/")
    assert answer.status_code == 200
    last = answer.content.decode().partition("Last checks")[2]
    assert "exit code 1" in last
    assert "<h2>Changes</h2>" in last
    dock.stop(container.id, 0)
    after = page.get("/containers/web/health/").content.decode()
    assert "exit code 1" in after.partition("Last checks")[2], "why it was ended, perhaps"
    assert 'id="unhealthy"' not in page.get("/containers/web/").content.decode()
    dock.start(container.id)
    assert eventually(lambda: len(dock.health_changes(container.id)) == 2, timeout_s=20)
    changes = page.get("/containers/web/health/").content.decode().partition("<h2>Changes</h2>")[2]
    assert re.findall("Unhealthy|Container started", changes) == ["Unhealthy", "Container started", "Unhealthy"]


def test_one_without_a_check_says_how_to_get_one(page: Client, dock: Engine) -> None:
    dock.create(ContainerSpec(image="wharfie/starter", name="web", command=("true",)))
    assert "It has no health check" in page.get("/containers/web/health/").content.decode()


def test_points_come_once_and_from_where_somebody_left(page: Client, dock: Engine) -> None:
    limits = Limits(cpus=1.5, memory_bytes=64 * 2**20)
    spec = ContainerSpec(image="wharfie/starter", name="web", command=("true",), limits=limits)
    container = dock.create(spec)
    assert "Nothing was recorded" in page.get("/containers/web/metrics/").content.decode()
    history, now = recorder.recorder().history, time.time()
    for ago in (3.0, 2.0, 1.0):
        history.add({container.id: Figure(0.25, 2**20, 3)}, {}, now_s=now - ago)
    found = points.of(container.id)
    assert (len(found["t"]), found["cpu"], found["memory"][0], found["read"]) == (3, [0.25] * 3, 2**20, [None] * 3)
    assert points.of(container.id, found["t"][1])["t"] == [found["t"][2]]
    assert points.of(container.id, found["t"][2])["t"] == []
    shown = page.get("/containers/web/metrics/").content.decode()
    assert 'data-limit="1.5"' in shown
    assert f'data-limit="{64 * 2**20}"' in shown
    # Who has no script, or cannot see a curve, reads the figures.
    cells = re.findall(r'<td class="r num">(.+?)</td>', shown)
    assert cells == [*["0.25"] * 3, *["1.0 MiB"] * 3, *["–"] * 6, *["3"] * 3, *["–"] * 9]


def test_many_points_are_joined_to_their_means() -> None:
    series = Series()
    for second in range(10):
        series.times.append(float(second))
        for name, values in series.points.items():
            values.append(math.nan if name == "read" else float(second))
    found = points.joined(series, most=5)
    assert found["t"] == [1.0, 3.0, 5.0, 7.0, 9.0]
    assert (found["cpu"], found["read"]) == ([0.5, 2.5, 4.5, 6.5, 8.5], [None] * 5)


def test_a_clone_is_made_by_a_job(page: Client, dock: Engine) -> None:
    dock.create(ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000")))
    assert "Clone web with its data" in page.get("/containers/web/clone/").content.decode()
    assert "is taken" in page.post("/containers/web/clone/", {"name": "web"}).content.decode()
    answer = page.post("/containers/web/clone/", {"name": "twin", "start": "on"})
    job = jobs.finished(Record.objects.get())
    assert answer["Location"] == job.get_absolute_url()
    assert job.error == ""
    assert dock.inspect("twin").state == "running"
