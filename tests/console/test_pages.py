"""The pages over the real engine: lists, the create form and its refusals, volumes, imports."""

from __future__ import annotations

import re

import pytest
from django.http import HttpResponse
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from console import gateway
from console.containers import lists
from console.containers.stopping import stopping
from engine import ContainerSpec, Engine, Image, NetworkMode, VolumeMount, names
from tests.console.conftest import root_filesystem
from tests.images import small_starter

pytestmark = pytest.mark.django_db
FORM = {"image": "team/empty:1", "name": "web", "network": "none", "act": "create"}
HTMX = {"HX-Request": "true"}


def field_errors(answer: object) -> dict[str, list[str]]:
    form = answer.context["form"]  # type: ignore[attr-defined]
    return {name: list(messages) for name, messages in form.errors.items()}


def test_empty_pages_say_what_to_do_first(page: Client, host: Engine) -> None:
    assert "First get an image" in page.get("/").content.decode()
    assert "No containers yet" in page.get("/containers/").content.decode()
    assert "No images yet" in page.get("/images/").content.decode()
    assert "No volumes yet" in page.get("/volumes/").content.decode()


def test_one_address_gives_the_page_or_its_fragment(page: Client, host: Engine) -> None:
    for path in ("/", "/containers/", "/images/", "/volumes/"):
        assert "<html" in page.get(path).content.decode()
        assert "<html" not in page.get(path, headers=HTMX).content.decode()


def test_an_unknown_container_says_so(page: Client, host: Engine) -> None:
    answer = page.get("/containers/nowhere/")
    assert answer.status_code == 404
    assert "nowhere" in answer.content.decode()


def test_an_unknown_address_says_so(page: Client, host: Engine) -> None:
    answer = page.get("/no/such/page/")
    assert answer.status_code == 404
    assert "There is no page at this address" in answer.content.decode()


def test_the_form_becomes_the_spec_that_it_shows(page: Client, image: Image, engine: Engine) -> None:
    engine.create_volume("data")
    asked = FORM | {
        "command": "sh -c 'echo \"a b\"'",
        "entrypoint": "/bin/env",
        "env": "export A=1\n# a comment\n\nB=x=y",
        "user": "1000:1000",
        "workdir": "/etc",
        "memory": "64m",
        "cpus": "0.5",
        "pids": "32",
        "volumes": "data:/srv:ro",
        "restart": "unless-stopped",
        "health": "test -e /srv",
    }
    answer = page.post("/containers/-/create/", asked)
    assert (answer.status_code, answer["Location"]) == (302, "/containers/web/")
    spec = engine.inspect("web").spec
    assert spec.command == ("sh", "-c", 'echo "a b"')
    assert spec.entrypoint == ("/bin/env",)
    assert spec.env[-2:] == ("A=1", "B=x=y")
    assert (spec.user, spec.workdir, spec.network) == ("1000:1000", "/etc", NetworkMode.NONE)
    assert (spec.limits.memory_bytes, spec.limits.cpus, spec.limits.pids) == (64 * 2**20, 0.5, 32)
    assert spec.volumes == (VolumeMount("data", "/srv", read_only=True),)
    assert str(spec.restart) == "unless-stopped"
    assert spec.health is not None
    assert spec.health.test == ("/bin/sh", "-c", "test -e /srv")
    shown = page.get("/containers/web/").content.decode()
    assert "never started" in shown
    assert "unless it was stopped" in shown
    assert "64 MiB" in shown


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"image": "nowhere/none:1"}, "image"),
        ({"image": "UPPER"}, "image"),
        ({"name": "-x"}, "name"),
        ({"command": "'open"}, "command"),
        ({"env": "NOVALUE"}, "env"),
        ({"env": "A B=3"}, "env"),
        ({"volumes": "missing:/x"}, "volumes"),
        ({"volumes": "only"}, "volumes"),
        ({"memory": "lots"}, "memory"),
        ({"memory": "1k"}, "memory"),
        ({"cpus": "0.0001"}, "cpus"),
        ({"pids": "many"}, "pids"),
        ({"workdir": "relative"}, "workdir"),
    ],
)
def test_what_cannot_work_is_refused_at_its_field(
    page: Client, image: Image, engine: Engine, change: dict[str, str], field: str
) -> None:
    answer = page.post("/containers/-/create/", FORM | change)
    assert 400 <= answer.status_code < 500
    assert set(field_errors(answer)) == {field}
    assert not engine.containers()


def test_everything_that_is_wrong_is_marked_in_one_answer(page: Client, image: Image, engine: Engine) -> None:
    wrong = {
        "name": "-x", "memory": "lots", "cpus": "-1", "pids": "0", "workdir": "relative", "command": "'open",
        "env": "NOVALUE", "labels": "no label", "volumes": "only", "tmpfs": "/run:size=lots",
        "sysctls": "kernel.panic=1", "devices": "/etc/passwd",
        "ulimits": "nofile", "hostname": "no host", "stop_signal": "NONE", "health": "true", "health_interval": "soon",
        "restart": "always", "restarts": "3", "log_segment": "1k",
    }  # fmt: skip
    answer = page.post("/containers/-/create/", FORM | wrong)
    assert answer.status_code == 400
    assert set(field_errors(answer)) == set(wrong) - {"health", "restart"}
    assert all(len(said) == 1 for said in field_errors(answer).values())
    assert answer.content.decode().count('aria-invalid="true"') == len(field_errors(answer))


def test_a_volume_that_is_not_there_is_made_by_a_click(page: Client, image: Image, engine: Engine) -> None:
    asked = FORM | {"volumes": "harbour:/srv", "env": "A=1"}
    answer = page.post("/containers/-/create/", asked)
    assert (answer.status_code, set(field_errors(answer))) == (404, {"volumes"})
    assert "Create volume harbour" in answer.content.decode()
    again = page.post("/containers/-/create/", asked | {"act": "volume", "volume": "harbour"})
    assert again.status_code == 200
    assert again.context["form"]["env"].value() == "A=1"
    assert [volume.name for volume in engine.volumes()] == ["harbour"]
    assert not engine.containers()
    assert page.post("/containers/-/create/", asked).status_code == 302
    spent = page.post("/containers/-/create/", asked | {"act": "volume", "volume": "harbour"})
    assert "already" in field_errors(spent)["volumes"][0]


def test_a_duplicate_keeps_values_and_commands_of_several_lines(page: Client, image: Image, engine: Engine) -> None:
    words = ("sh", "-c", "echo a\necho b")
    engine.create(ContainerSpec("team/empty:1", name="web", command=words, env=("KEY=-----BEGIN\nabc\n", "B= x")))
    form = page.get("/containers/-/create/?like=web").context["form"]
    command = form["command"].value().replace("\n", "\r\n")  # as a browser sends it
    asked = FORM | {"name": "two", "command": command, "env": form["env"].value().replace("\n", "\r\n")}
    assert page.post("/containers/-/create/", asked).status_code == 302
    made = engine.asked("two")
    assert (made.command, made.env) == (words, ("KEY=-----BEGIN\nabc\n", "B= x"))


def test_a_fault_of_the_console_leads_an_admin_to_its_log(
    page: Client, host: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(host), "images", fail)
    page.raise_request_exception = False
    answer = page.get("/images/")
    assert answer.status_code == 500
    assert 'href="/system/#log"' in answer.content.decode()


def test_a_taken_name_is_refused_at_its_field(page: Client, image: Image) -> None:
    page.post("/containers/-/create/", FORM)
    answer = page.post("/containers/-/create/", FORM)
    assert answer.status_code == 400
    assert set(field_errors(answer)) == {"name"}


def test_a_start_that_fails_leaves_no_container_and_says_why(page: Client, image: Image, engine: Engine) -> None:
    answer = page.post("/containers/-/create/", FORM | {"command": "/no/such", "act": "start"})
    assert answer.status_code == 400
    assert "/no/such" in field_errors(answer)["command"][0]
    assert not engine.containers()


def test_removing_asks_first_and_then_removes(page: Client, image: Image, engine: Engine) -> None:
    page.post("/containers/-/create/", FORM)
    assert "Remove web" in page.get("/containers/web/remove/").content.decode()
    assert engine.containers()
    answer = page.post("/containers/web/remove/")
    assert (answer.status_code, answer["Location"]) == (303, "/containers/")
    assert not engine.containers()


def test_a_container_that_goes_while_somebody_looks_is_said_in_place(page: Client, host: Engine) -> None:
    answer = page.get("/containers/gone/head/", headers=HTMX)
    assert answer.status_code == 200
    assert "This container is gone" in answer.content.decode()


def test_a_container_may_be_called_like_a_form(page: Client, image: Image) -> None:
    page.post("/containers/-/create/", FORM | {"name": "create"})
    assert "<h1>create</h1>" in page.get("/containers/create/").content.decode()


def names_in(answer: HttpResponse) -> list[str]:
    return [row.name for row in answer.context["rows"]]


def test_the_list_comes_a_page_at_a_time_and_is_searched_as_a_whole(
    page: Client, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lists.DENSITIES, "roomy", 3)
    for number in range(7):
        page.post("/containers/-/create/", FORM | {"name": f"box-{number}"})
    assert names_in(page.get("/containers/")) == ["box-6", "box-5", "box-4"]
    second = page.get("/containers/?page=2")
    assert names_in(second) == ["box-3", "box-2", "box-1"]
    assert "4 to 6 of 7" in second.content.decode()
    assert {"page=1", "page=3"} == set(re.findall("page=[0-9]", second.content.decode().replace("?page=2", "")))
    assert names_in(page.get("/containers/?page=9")) == ["box-0"], "the last one, when there are no more so many"
    assert names_in(page.get("/containers/?q=BOX-2")) == ["box-2"]
    assert names_in(page.get("/containers/?q=team/empty&page=3")) == ["box-0"]
    assert names_in(page.get("/containers/?state=running")) == []
    assert "None match" in page.get("/containers/?state=running").content.decode()


def test_a_refresh_of_the_list_brings_no_search_form(page: Client, image: Image) -> None:
    page.post("/containers/-/create/", FORM)
    fragment = page.get("/containers/", headers=HTMX).content.decode()
    assert 'type="search"' not in fragment
    assert 'id="total" hx-swap-oob="true">1<' in fragment


def test_a_container_that_is_being_stopped_says_so(page: Client, image: Image) -> None:
    engine = gateway.engine()
    small_starter(engine)
    container = engine.create(ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000")))
    engine.start(container.id)
    with stopping(container.id):
        for address in ("/containers/", "/containers/web/head/"):
            shown = page.get(address, headers=HTMX).content.decode()
            assert "Stopping" in shown
            assert re.search(r"<button[^>]*\bdisabled\b", shown)
    assert "Stopping" not in page.get("/containers/", headers=HTMX).content.decode()


def test_the_head_that_is_fetched_again_tells_the_pid(page: Client, image: Image) -> None:
    engine = gateway.engine()
    small_starter(engine)
    container = engine.create(ContainerSpec(image="wharfie/starter", name="web", command=("sleep", "1000")))
    pid = engine.start(container.id).pid
    assert f"pid {pid} on the host" in page.get("/containers/web/head/", headers=HTMX).content.decode()


def test_a_volume_is_made_listed_and_removed_by_its_typed_name(page: Client, host: Engine) -> None:
    assert page.post("/volumes/", {"name": "data"}).status_code == 302
    assert field_errors(page.post("/volumes/", {"name": "data"})).keys() == {"name"}
    assert field_errors(page.post("/volumes/", {"name": "../x"})).keys() == {"name"}
    assert page.post("/volumes/data/remove/", {"typed": "dat"}).status_code == 400
    assert [volume.name for volume in host.volumes()] == ["data"]
    assert page.post("/volumes/data/remove/", {"typed": "data"}).status_code == 303
    assert host.volumes() == []


def test_a_volume_in_use_says_by_whom_and_asks_for_nothing(page: Client, image: Image, engine: Engine) -> None:
    engine.create_volume("data")
    engine.create(ContainerSpec("team/empty:1", name="db", volumes=(VolumeMount("data", "/data"),)))
    asked = page.get("/volumes/data/remove/", headers=HTMX).content.decode()
    assert "1 container uses it" in asked
    assert 'href="/containers/db/"' in asked
    assert 'name="typed"' not in asked
    assert "<button" not in asked


def test_everything_else_is_looked_at_before_a_file_comes(page: Client, host: Engine) -> None:
    announced = {"upload": "root.tar", "name": "not a name"}
    refused = page.post("/images/import/", announced)
    assert refused.status_code == 400
    assert "is not an image name" in refused.content.decode()
    assert "<html" not in refused.content.decode()
    assert page.post("/images/import/", announced | {"path": "/srv/x.tar", "name": ""}).status_code == 400
    named = announced | {"name": "team/root:1"}
    assert page.post("/images/import/", named | {"upload_bytes": "1000"}).status_code == 204
    large = page.post("/images/import/", named | {"upload_bytes": str(2**60)})
    assert (large.status_code, "no room for this upload" in large.content.decode()) == (400, True)


def test_of_several_names_one_goes_or_all_with_the_image(page: Client, image: Image, engine: Engine) -> None:
    for _ in range(2):
        engine.load_image(root_filesystem(), name="team/empty:2")
    names = [tag for found in engine.images() for tag in found.tags]
    assert sorted(names) == ["team/empty:1", "team/empty:2"]
    address = f"/images/{engine.image('team/empty:1').id}/remove/"
    asked = page.get(address).content.decode()
    assert "The image with all its names" in asked
    assert page.post(address).status_code == 409, "who saw one name only does not remove two"
    assert page.post(address, {"name": "team/empty:1"}).status_code == 303
    assert [found.tags for found in engine.images()] == [("team/empty:2",)]
    engine.load_image(root_filesystem(), name="team/empty:3")
    assert page.post(address, {"name": "*"}).status_code == 303
    assert engine.images() == []


@pytest.mark.parametrize("data", [{}, {"path": "relative.tar"}])
def test_an_import_needs_one_source(page: Client, host: Engine, data: dict[str, str]) -> None:
    assert page.post("/images/import/", data).status_code == 400


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1))
def test_a_quoted_command_comes_back_as_its_words(words: list[str]) -> None:
    import shlex

    assert names.words(shlex.join(words)) == tuple(words)


def test_all_that_is_wrong_with_a_container_is_told_at_once_at_its_fields(page: Client, engine: Engine) -> None:
    wish = {"image": "ghost", "memory": "lots", "network": "container", "network_of": "nobody", "pid": "container:none"}
    answer = page.post("/containers/-/create/", wish | {"opened": ["section-log", "section-network"]})
    assert answer.status_code == 400
    found = answer.context["form"].errors
    assert found.keys() == {"image", "memory", "network_of", "pid"}
    assert "nobody" in found["network_of"][0]
    sections = {section.name: open_ for section, _rows, open_ in answer.context["form"].sections()}
    assert [name for name, open_ in sections.items() if open_] == ["limits", "network", "log", "isolation"]
    missing = page.post("/containers/-/create/", {"image": "ghost", "network": "container"}).context["form"].errors
    assert missing.keys() == {"image", "network_of"}


def test_every_line_that_is_wrong_is_told(page: Client, image: Image, engine: Engine) -> None:
    wish = {"image": "team/empty:1", "network": "none", "env": "A=1\nB\nC", "volumes": "x:/x\nnowhere\n/a"}
    found = page.post("/containers/-/create/", wish).context["form"].errors
    assert found.keys() == {"env", "volumes"}
    assert [line in " ".join(found["env"]) for line in ("'A=1'", "'B'", "'C'")] == [False, True, True]
    assert len(found["env"]) == 2
    assert len(found["volumes"]) == 2


def test_the_form_says_docker_s_flags(page: Client, image: Image) -> None:
    shown = page.get("/containers/-/create/").content.decode()
    for flag in ("--memory", "--init", "--restart", "--health-interval", "--oom-score-adj", "--pid"):
        assert f"<code>{flag}</code>" in shown, flag


def test_a_taken_name_is_told_with_the_rest_and_the_begin_of_an_id_is_none(
    page: Client, image: Image, engine: Engine
) -> None:
    taken = engine.create(ContainerSpec("team/empty:1", name="web"))
    found = page.post("/containers/-/create/", FORM | {"memory": "lots"}).context["form"].errors
    assert found.keys() == {"name", "memory"}
    assert page.post("/containers/-/create/", FORM | {"name": taken.id[:8]}).status_code == 302


def test_what_a_form_has_led_to_leads_back_to_the_page_before(page: Client) -> None:
    """As whoever loads it again, or comes back to it, does: a browser shows a page of its own for an empty answer."""
    found = page.get("/containers/web/files/folder/?path=/tmp", headers={"Accept": "text/html"})
    assert (found.status_code, found["Allow"]) == (405, "POST")
    assert 'href="/containers/web/files/?path=/tmp"' in found.text
    assert page.get("/containers/web/stop/").content == b"", "a program's"
