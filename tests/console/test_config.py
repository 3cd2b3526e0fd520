"""A container's configuration: changed while it runs, remembered, restored, and made anew where nothing else helps."""

from __future__ import annotations

import re

import pytest
from django.http import HttpResponse
from django.test import Client

from console import gateway, jobs
from console.jobs.models import Record
from engine import ContainerSpec, Engine, Image, Limits, RestartPolicy, State, VolumeMount, errors
from tests.conftest import eventually
from tests.console.conftest import HTMX
from tests.images import small_starter

pytestmark = pytest.mark.django_db


@pytest.fixture
def dock(image: Image) -> Engine:
    engine = gateway.engine()
    small_starter(engine)
    return engine


def shown(page: Client, ref: str = "web") -> HttpResponse:
    return page.get(f"/containers/{ref}/config/")


def test_limits_name_and_policy_change_while_it_runs_and_are_one_version(page: Client, dock: Engine) -> None:
    spec = ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000"))
    before = dock.start(dock.create(spec).id)
    form = {"name": "shop", "memory": "64m", "cpus": "0.5", "restart": "on-failure", "restarts": "2"}
    assert page.post("/containers/web/config/", form).status_code == 302
    now = dock.inspect("shop")
    assert (now.id, now.pid) == (before.id, before.pid)
    assert (now.spec.limits.memory_bytes, now.spec.limits.memory_swap_bytes) == (64 * 2**20, 64 * 2**20)
    assert str(now.spec.restart) == "on-failure:2"
    assert [(each.change, each.by) for each in dock.versions("shop")] == [
        ("update", "captain"), ("create", ""),
    ]  # fmt: skip
    history = shown(page, "shop").context["history"]
    changed = {str(change.label): change.after for change in history[0].changes}
    assert (changed["Name"], changed["Memory"]) == ("shop", "64m")
    assert "on-failure" in changed.values()
    assert page.post("/containers/shop/config/", form).status_code == 302
    assert len(dock.versions("shop")) == 2, "what stays is no version"
    assert page.post(f"/containers/{now.id}/config/1/restore/").status_code == 303
    again = dock.inspect("web")
    assert (again.spec, again.pid) == (before.spec, before.pid)
    assert [each.change for each in dock.versions("web")] == ["restore", "update", "create"]


def test_a_limit_that_nobody_gave_is_shown_as_such(page: Client, dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="wharfie/starter", name="web"))
    answer = shown(page)
    assert answer.context["form"]["memory"].value() == ""
    said = dict(answer.context["facts"])["Memory"]
    assert re.fullmatch(r"\d+(\.\d+)?([gm]| [GM]iB, half of this host's)", said), said
    assert page.post("/containers/web/config/", {"name": "web", "cpus": "1"}).status_code == 302
    assert dock.inspect("web").spec.limits.memory_bytes == container.spec.limits.memory_bytes


def test_a_form_that_is_out_of_date_undoes_nothing_unsaid(page: Client, dock: Engine) -> None:
    dock.create(ContainerSpec(image="wharfie/starter", name="web", command=("true",)))
    form = page.get("/containers/web/config/").context["form"]
    mine = {name: value for name, value in form.initial.items() if value and name in form.fields} | {"pids": "77"}
    dock.update("web", Limits(memory_bytes=2 * 2**30, memory_swap_bytes=2 * 2**30))
    answer = page.post("/containers/web/config/", mine)
    assert answer.status_code == 409
    said = answer.content.decode()
    assert "the command line has changed it meanwhile (Memory: " in said
    assert "2g). Press again" in said
    assert dock.inspect("web").spec.limits.pids != 77
    again = {field.name: field.value() for field in answer.context["form"] if field.value() not in (None, "")}
    assert again["pids"] == "77", "what was filled in stays"
    assert page.post("/containers/web/config/", again).status_code == 302
    assert dock.inspect("web").spec.limits.pids == 77


def test_a_name_that_is_taken_leaves_all_as_it_was(page: Client, dock: Engine) -> None:
    dock.create(ContainerSpec(image="wharfie/starter", name="shop", command=("true",)))
    before = dock.start(dock.create(ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000"))).id)
    form = {"name": "shop", "memory": "64m", "cpus": "0.5", "restart": "always"}
    answer = page.post("/containers/web/config/", form)
    assert answer.status_code == 409
    assert set(answer.context["form"].errors) == {"name"}
    assert dock.inspect("web").spec == before.spec
    assert len(dock.versions("web")) == 1


def test_a_limit_that_cannot_be_is_said_at_its_field(page: Client, dock: Engine) -> None:
    dock.create(ContainerSpec(image="wharfie/starter", name="web", command=("true",)))
    answer = page.post("/containers/web/config/", {"name": "web", "memory": "1k"})
    assert answer.status_code == 400
    assert set(answer.context["form"].errors) == {"memory"}
    assert len(dock.versions("web")) == 1


def test_a_duplicate_is_asked_for_as_the_original_was(page: Client, dock: Engine) -> None:
    dock.create_volume("data")
    spec = ContainerSpec(
        image="wharfie/starter", name="web", command=("sleep", "5"), env=("A=1",),
        volumes=(VolumeMount("data", "/srv"),), labels={"team": "web"},
    )  # fmt: skip
    dock.create(spec)
    form = page.get("/containers/-/create/?like=web").context["form"]
    assert form["name"].value() == ""
    assert (form["env"].value(), form["memory"].value(), form["user"].value()) == ("A=1", None, None)
    data = {name: value for name, value in form.initial.items() if value not in (None, "", False)}
    page.post("/containers/-/create/", data | {"name": "twin", "act": "create"})
    twin, web = dock.asked("twin"), dock.asked("web")
    assert (twin.name, web.name) == ("twin", "web")
    assert twin.volumes == web.volumes == spec.volumes
    assert (twin.env, twin.labels, twin.limits) == (spec.env, spec.labels, spec.limits)


def test_what_an_empty_field_means_is_the_same_after_an_error(page: Client, dock: Engine) -> None:
    dock.create(ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1")))

    def hints(answer: object) -> list[str]:
        form = answer.context["form"]  # type: ignore[attr-defined]
        return [str(form[name].help_text) for name in ("memory", "cpus", "pids", "name")]

    before = hints(page.get("/containers/web/config/"))
    refused = page.post("/containers/web/config/", {"name": "web", "memory": "lots"})
    assert refused.status_code == 400
    assert hints(refused) == before == ["Empty: it stays as it is"] * 3 + [""]
    assert 'aria-invalid="true"' in str(refused.context["form"]["memory"])


@pytest.mark.django_db(transaction=True)
def test_made_anew_it_keeps_its_name_and_the_old_one_is_kept(page: Client, dock: Engine) -> None:
    spec = ContainerSpec(
        image="wharfie/starter", name="web", command=("sleep", "1000"), restart=RestartPolicy.parse("always"),
        stop_timeout_s=0,
    )  # fmt: skip
    old = dock.start(dock.create(spec).id)
    asked = {"image": "wharfie/starter", "command": "sleep 2000", "network": "none", "restart": "always"}
    assert page.post("/containers/web/recreate/", asked)["Location"] == "/containers/web/"
    new, kept = dock.inspect("web"), dock.inspect("web-before-1")
    assert (new.state, new.argv) == (State.RUNNING, ("sleep", "2000"))
    assert (kept.id, kept.state) == (old.id, State.EXITED)
    assert str(kept.spec.restart) == "no", "else it would be back after a reboot"
    assert Record.objects.get().seen, "they are told where it was asked for"


@pytest.mark.django_db(transaction=True)
def test_made_anew_one_that_does_not_end_holds_no_request_and_can_be_given_up(page: Client, dock: Engine) -> None:
    script = ("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    old = dock.start(
        dock.create(ContainerSpec(image="wharfie/starter", name="mule", command=script, stop_timeout_s=-1)).id
    )
    assert next(dock.logs("mule", follow=True)).text == "up"
    asked = {"image": "wharfie/starter", "command": "sleep 2000", "network": "none"}
    answer = page.post("/containers/mule/recreate/", asked)
    record = Record.objects.get()
    assert (record.title, answer["Location"]) == ("Create mule anew", record.get_absolute_url())
    assert eventually(lambda: "Stopping" in page.get("/containers/mule/").content.decode())
    page.post(f"{record.get_absolute_url()}cancel/")
    assert jobs.finished(record).status == "cancelled"
    assert [(each.id, each.name, each.state) for each in dock.containers()] == [(old.id, "mule", State.RUNNING)]
    page.post("/containers/mule/recreate/", asked)
    dock.kill("mule")
    record = jobs.finished(Record.objects.first())
    assert (record.status, [words for words, _url in record.results]) == ("done", ["mule", "mule-before-1"])
    assert dock.inspect("mule").argv == ("sleep", "2000")


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_made_anew_is_said_in_the_form(page: Client, dock: Engine) -> None:
    spec = ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000"), stop_timeout_s=0)
    old = dock.start(dock.create(spec).id)
    asked = {"image": "wharfie/starter", "command": "/no/such", "network": "none"}
    answer = page.post("/containers/web/recreate/", asked)
    assert answer.status_code >= 400
    assert "/no/such" in str(answer.context["form"].errors)
    assert (Record.objects.get().status, Record.objects.get().seen) == ("failed", True)
    assert [(each.id, each.name, each.state) for each in dock.containers()] == [(old.id, "web", State.RUNNING)]


def test_a_dialog_keeps_what_is_wrong_in_it(page: Client, dock: Engine) -> None:
    web = dock.create(ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000")))
    asked = page.get("/containers/web/clone/", headers=HTMX).content.decode()
    assert f'hx-post="/containers/{web.id}/clone/" hx-target="#dialog"' in asked
    refused = page.post("/containers/web/clone/", {"name": "a b"}, headers=HTMX)
    shown = refused.content.decode()
    assert (refused.status_code, shown.startswith("<dialog"), 'value="a b"' in shown) == (400, True, True)


def test_what_cannot_be_made_anew_runs_as_before(dock: Engine) -> None:
    spec = ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000"), stop_timeout_s=0)
    old = dock.start(dock.create(spec).id)
    with pytest.raises(errors.EngineError):
        dock.recreate("web", ContainerSpec(image="wharfie/starter", command=("/no/such",)))
    assert [(each.id, each.name, each.state) for each in dock.containers()] == [(old.id, "web", State.RUNNING)]


def test_the_form_is_shown_in_others_words(page: Client, image: Image) -> None:
    answer = page.post("/containers/-/equivalents/", {"image": "team/empty:1", "command": "echo '$A'"})
    text = answer.content.decode()
    assert "team/empty:1 echo" in text
    assert "$$A" in text
    assert "Choose an image" in page.post("/containers/-/equivalents/", {}).content.decode()
