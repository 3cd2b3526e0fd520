"""The list of containers: filters with counts, orders, and acts upon many at once."""

from __future__ import annotations

import re

import pytest
from django.http import HttpResponse
from django.test import Client

from console import gateway, jobs, recorder
from console.containers import bulk
from console.jobs.models import Record
from engine import ContainerSpec, Engine, Figure, Image
from tests.console.conftest import HTMX
from tests.images import small_starter

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(image: Image) -> Engine:
    """Two that run, one that was never started, one that ended."""
    engine = gateway.engine()
    small_starter(engine)
    for name in ("anchor", "buoy", "crane", "dock"):
        engine.create(ContainerSpec(image="wharfie/starter", name=name, command=("sleep", "1000")))
    for name in ("anchor", "buoy", "dock"):
        engine.start(name)
    engine.kill("dock")
    engine.wait("dock")
    return engine


def names_in(answer: HttpResponse) -> list[str]:
    return [row.name for row in answer.context["rows"]]


def chips(answer: HttpResponse) -> dict[str, int]:
    return {value: count for value, _word, count, _query in answer.context["chips"]}


def test_chips_count_each_state_and_filter_by_it(page: Client, fleet: Engine) -> None:
    assert chips(page.get("/containers/")) == {"": 4, "running": 2, "failed": 0, "stopped": 1, "created": 1}
    fleet.pause("buoy")
    now = {"": 4, "running": 1, "degraded": 1, "failed": 0, "stopped": 1, "created": 1}
    assert chips(page.get("/containers/")) == now
    assert names_in(page.get("/containers/?state=degraded")) == ["buoy"]
    fleet.unpause("buoy")
    fleet.rename("buoy", "barge")
    fleet.remove("crane")
    assert names_in(page.get("/containers/?state=running&order=name")) == ["anchor", "barge"]
    assert chips(page.get("/containers/")) == {"": 3, "running": 2, "failed": 0, "stopped": 1}


def test_an_order_by_figures_puts_the_hungriest_first_and_those_without_last(page: Client, fleet: Engine) -> None:
    history = recorder.recorder().history
    anchor, buoy = fleet.inspect("anchor").id, fleet.inspect("buoy").id
    history.add({anchor: Figure(0.1, 9, 1), buoy: Figure(0.5, 5, 1)}, {})
    assert names_in(page.get("/containers/?order=cpu"))[:2] == ["buoy", "anchor"]
    assert names_in(page.get("/containers/?order=memory"))[:2] == ["anchor", "buoy"]
    history.add({anchor: Figure(1.0, 9, 1), buoy: Figure(0.5, 5, 1)}, {})
    assert names_in(page.get("/containers/?order=cpu"))[:2] == ["buoy", "anchor"], "one peak turns no rows over"
    assert names_in(page.get("/containers/?order=name")) == ["anchor", "buoy", "crane", "dock"]


def test_a_heading_sorts_by_its_column_and_once_more_the_other_way_round(page: Client, fleet: Engine) -> None:
    def heads(address: str) -> dict[str, tuple[str, str]]:
        return {str(word): (query, way) for word, query, way in page.get(address).context["heads"]}

    first = heads("/containers/?state=running")
    assert first["Created"] == ("?state=running&order=-created", "descending")
    assert first["State"] == ("", "")
    assert first["Name, image"] == ("?state=running&order=name", "")
    by_name = heads(f"/containers/{first['Name, image'][0]}")
    assert by_name["Name, image"] == ("?state=running&order=-name", "ascending")
    turned = page.get(f"/containers/{by_name['Name, image'][0]}")
    assert names_in(turned) == ["buoy", "anchor"]
    assert '<th scope="col" aria-sort="descending"><a href="?state=running&amp;order=name">' in turned.content.decode()
    assert heads("/containers/?order=cpu")["Memory"] == ("?order=memory", "")


def test_an_act_upon_many_has_a_result_for_each(page: Client, fleet: Engine) -> None:
    ids = {name: fleet.inspect(name).id for name in ("anchor", "buoy", "crane")}
    answer = page.post("/containers/-/bulk/", {"act": "pause", "id": list(ids.values())}, headers=HTMX)
    assert [result.name for result in answer.context["well"]] == ["anchor", "buoy"]
    ((name, why),) = answer.context["failed"]
    assert name == "crane"
    assert "start it first" in why.lower()
    assert answer["HX-Trigger"] == "wharfie:changed"
    assert {fleet.inspect(name).state for name in ("anchor", "buoy")} == {"paused"}


def test_an_act_upon_many_that_all_goes_well_has_nothing_to_close(page: Client, fleet: Engine) -> None:
    ids = [fleet.inspect(name).id for name in ("anchor", "buoy")]
    answer = page.post("/containers/-/bulk/", {"act": "pause", "id": ids}, headers=HTMX)
    assert "Paused 2 containers." in answer.content.decode()
    assert "<dialog" not in answer.content.decode()
    assert answer["HX-Trigger"] == "wharfie:changed"
    plain = page.post("/containers/-/bulk/", {"act": "unpause", "id": ids[:1]})
    assert (plain.status_code, plain["Location"]) == (303, "/containers/")
    assert "Unpaused 1 container." in page.get("/containers/").content.decode()


def test_removing_many_asks_first(page: Client, fleet: Engine) -> None:
    wish = {"act": "remove", "id": [fleet.inspect(name).id for name in ("anchor", "crane")]}
    asked = page.post("/containers/-/bulk/", wish).content.decode()
    assert "Kill and remove 2 containers" in asked
    assert len(fleet.containers()) == 4
    sure = re.findall(r'name="(id|sure)" value="(\w+)"', asked)
    page.post("/containers/-/bulk/", wish | {"sure": dict(sure)["sure"]})
    assert {each.name for each in fleet.containers()} == {"buoy", "dock"}


@pytest.mark.django_db(transaction=True)
def test_very_many_are_a_job_with_a_line_for_each(page: Client, fleet: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "SOON", 1)
    ids = [fleet.inspect(name).id for name in ("anchor", "crane")]
    answer = page.post("/containers/-/bulk/", {"act": "pause", "id": ids})
    job = jobs.finished(Record.objects.get())
    assert (answer.status_code, answer["Location"]) == (303, job.get_absolute_url())
    assert "1 container failed" in job.error
    shown = page.get(answer["Location"]).content.decode()
    assert "anchor: done" in shown
    assert re.search("crane: .*it is created", shown)


def test_nothing_chosen_is_said(page: Client, fleet: Engine) -> None:
    answer = page.post("/containers/-/bulk/", {"act": "stop"}, headers=HTMX)
    assert answer.status_code == 400
    assert "tick some" in answer.content.decode().lower()


def test_a_label_is_found_by_its_name_and_by_its_value(page: Client, image: Image, engine: Engine) -> None:
    engine.create(ContainerSpec(image="team/empty:1", name="web", labels={"team": "Harbour"}))
    engine.create(ContainerSpec(image="team/empty:1", name="db"))
    for words in ("team=harbour", "Harbour"):
        assert [row.name for row in page.get("/containers/", {"q": words}).context["rows"]] == ["web"]


def test_the_owner_is_who_created_it(page: Client, image: Image) -> None:
    page.post("/containers/-/create/", {"image": "team/empty:1", "name": "web", "network": "none", "act": "create"})
    assert [row.owner for row in page.get("/containers/?q=captain").context["rows"]] == ["captain"]
