"""What is asked before something goes: what it is, how many bytes, and that the answer means just that."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from console import jobs
from console.containers import bulk, lists
from console.jobs.models import Record
from engine import ContainerSpec, Engine, Image, Limits, TreeSize
from tests.console.conftest import HTMX

pytestmark = pytest.mark.django_db
MIB = 2**20


@pytest.fixture
def boxes(image: Image, engine: Engine) -> Engine:
    for number in range(5):
        engine.create(ContainerSpec(image="team/empty:1", name=f"box-{number}"))
    engine.create(ContainerSpec(image="team/empty:1", name="other"))
    return engine


def hidden(text: str) -> dict[str, str]:
    """The form's hidden fields."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text)
    return {name: value for name, value in found if name != "csrfmiddlewaretoken"}


def test_the_bytes_that_go_are_named(page: Client, boxes: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    container = boxes.inspect("other")
    (boxes.paths.container(container.id) / "scratch").write_bytes(b"x" * 3 * MIB)
    boxes.create_volume("harbour")
    (boxes.paths.volume("harbour") / "file").write_bytes(b"x" * 5 * MIB)
    assert re.search(r"3\.\d MiB", page.get("/containers/other/remove/", headers=HTMX).content.decode())
    shown = page.get("/volumes/harbour/remove/").content.decode()
    assert re.search(r"5\.\d MiB", shown)
    assert "Remove volume harbour</button>" in shown
    ids = [boxes.inspect(name).id for name in ("other", "box-1")]
    assert re.search(r"3\.\d MiB", page.post("/containers/-/bulk/", {"act": "remove", "id": ids}).content.decode())
    assert not boxes.size(ids, timeout_s=-1).whole
    assert boxes.size(["0" * 64], ["nowhere"]) == TreeSize(0, 0, True), "what is not there takes nothing"
    monkeypatch.setattr(Engine, "size", lambda *_arguments, **_options: TreeSize(3 * MIB, 9, False))
    assert "more than 3.0 MiB" in page.get("/containers/other/remove/").content.decode()


def test_all_that_match_are_chosen_and_just_those_that_were_named_go(
    page: Client, boxes: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lists.DENSITIES, "roomy", 2)
    assert "all 5 that match" in page.get("/containers/?q=box").content.decode()
    asked = page.post("/containers/-/bulk/", {"act": "remove", "all": "yes", "q": "box", "state": ""})
    text = asked.content.decode()
    assert "Remove 5 containers" in text
    boxes.create(ContainerSpec(image="team/empty:1", name="box-late"))
    page.post("/containers/-/bulk/", hidden(text) | {"act": "remove"})
    assert {each.name for each in boxes.containers()} == {"other", "box-late"}


def test_a_filter_by_state_is_kept_for_all_that_match(page: Client, boxes: Engine) -> None:
    wish = {"act": "remove", "all": "yes", "q": "", "state": "running"}
    answer = page.post("/containers/-/bulk/", wish, headers=HTMX)
    assert (answer.status_code, len(boxes.containers())) == (400, 6)


@pytest.mark.django_db(transaction=True)
def test_very_many_are_removed_by_who_types_how_many(
    page: Client, boxes: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "SOON", 3)
    monkeypatch.setattr(bulk, "NAMED", 2)
    text = page.post("/containers/-/bulk/", {"act": "remove", "all": "yes"}).content.decode()
    assert "Type 6 to confirm" in text
    assert "and 4 more" in text
    sure = hidden(text) | {"act": "remove"}
    for typed in ({}, {"typed": "5"}):
        assert page.post("/containers/-/bulk/", sure | typed).status_code == 400
    assert len(boxes.containers()) == 6
    answer = page.post("/containers/-/bulk/", sure | {"typed": "6"})
    assert answer.status_code == 303
    assert jobs.finished(Record.objects.get()).status == "done"
    assert boxes.containers() == []


def test_a_version_is_restored_by_who_has_read_what_changes(page: Client, boxes: Engine) -> None:
    boxes.update("other", Limits(memory_bytes=64 * MIB))
    asked = page.get("/containers/other/config/1/restore/", headers=HTMX).content.decode()
    assert "Restore version 1 of other" in asked
    assert "<code>64m</code>" in asked
    assert boxes.inspect("other").spec.limits.memory_bytes == 64 * MIB
    assert page.get("/containers/other/config/9/restore/").status_code == 404
    assert page.post("/containers/other/config/1/restore/").status_code == 303
    assert boxes.inspect("other").spec.limits.memory_bytes != 64 * MIB
