"""API tokens, and what they open."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from console.accounts.models import ApiToken, User
from engine import ContainerSpec, Engine, Image
from tests.conftest import eventually
from tests.console.conftest import PASSWORD
from tests.images import small_starter

pytestmark = pytest.mark.django_db
LIST = "/api/v1/containers/"


def call(token: str, path: str = LIST, body: Any = None, *, method: str = "post") -> HttpResponse:
    """A program without cookies, and with every check of a real one."""
    program = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {token}"})
    if body is None:
        return program.get(path)
    data = body if isinstance(body, str) else json.dumps(body)
    return getattr(program, method)(path, data, content_type="application/json")


def token_of(person: User, scope: str, **more: Any) -> str:
    return ApiToken.issue(person, name=scope, scope=scope, **more)


@pytest.fixture
def mate(db: None) -> User:
    return User.objects.create_user("mate", password=PASSWORD)


def test_a_token_is_made_on_the_page_shown_once_and_stored_as_a_hash(user: User, host: Engine) -> None:
    browser = Client()
    browser.post("/sign-in/", {"username": "captain", "password": PASSWORD})
    asked = browser.get("/account/tokens/create/")
    browser.post(asked["Location"], {"password": PASSWORD})
    shown = browser.post("/account/tokens/create/", {"name": "backup", "scope": "read", "days": "7"}).content.decode()
    token = re.search(r"wharfie_[\w-]{43}", shown)[0]
    assert token not in str(list(ApiToken.objects.values()))
    assert token not in browser.get("/account/").content.decode()
    assert call(token).json() == {"containers": []}
    kept = ApiToken.objects.get()
    assert kept.last_used_at is not None
    assert timedelta(days=6) < kept.expires_at - timezone.now() <= timedelta(days=7)
    browser.post(f"/account/tokens/{kept.pk}/revoke/")
    assert call(token).status_code == 401


def test_a_member_makes_no_token_for_admins(mate: User) -> None:
    browser = Client()
    browser.post("/sign-in/", {"username": "mate", "password": PASSWORD})
    browser.post("/account/confirm/?next=/account/tokens/create/", {"password": PASSWORD})
    assert browser.post("/account/tokens/create/", {"name": "x", "scope": "admin", "days": ""}).status_code == 400
    assert browser.post("/account/tokens/create/", {"name": "x", "scope": "write", "days": ""}).status_code == 200
    assert [each.scope for each in ApiToken.objects.all()] == ["write"]


def test_without_a_good_token_there_is_no_way_in(user: User, page: Client, host: Engine) -> None:
    expired = token_of(user, "admin", expires_at=timezone.now() - timedelta(seconds=1))
    for shown in ("", "x", expired, ApiToken.PREFIX):
        answer = call(shown)
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert page.get(LIST).status_code == 401, "a cookie is none"
    good = token_of(user, "admin")
    assert call(good, "/containers/").status_code == 302, "a token opens no pages"
    assert call(good, "/api/v1/nothing/").json()["error"]


def test_a_token_is_good_for_so_many_requests_a_minute(user: User, host: Engine) -> None:
    program = Client(headers={"Authorization": f"Bearer {token_of(user, 'read')}"})
    for _ in range(600):
        assert program.get(f"{LIST}none/").status_code == 404
    answer = program.get(LIST)
    assert (answer.status_code, answer.json()["error"]) == (429, "Too many requests")
    assert 0 < int(answer["Retry-After"]) <= 60
    other = {"Authorization": f"Bearer {token_of(user, 'read')}"}
    assert program.get(LIST, headers=other).status_code == 200, "it is the token's limit, not the console's"


def test_who_may_only_read_changes_nothing(user: User, host: Engine, image: Image) -> None:
    container = host.create(ContainerSpec(image=image.tags[0], name="aa", command=("x",)))
    token = token_of(user, "read")
    assert call(token, f"{LIST}aa/").json()["id"] == container.id
    for path in (LIST, f"{LIST}aa/start/", f"{LIST}aa/stop/", f"{LIST}aa/restart/", f"{LIST}aa/update/"):
        answer = call(token, path, {"image": image.tags[0]})
        assert (answer.status_code, answer.json()["error"]) == (403, "This token may only read")
    assert len(host.containers()) == 1


def test_a_token_does_not_make_an_admin_of_a_member(user: User, mate: User, host: Engine, image: Image) -> None:
    wish = {"image": image.tags[0], "network": "host", "command": ["x"]}
    for token in (token_of(mate, "write"), token_of(mate, "admin"), token_of(user, "write")):
        answer = call(token, LIST, wish)
        assert (answer.status_code, "for admins only" in answer.json()["error"]) == (403, True)
    token = token_of(user, "admin")
    assert call(token, LIST, wish).status_code == 201
    User.objects.filter(pk=user.pk).update(is_superuser=False)
    assert call(token, LIST, wish).status_code == 403, "rights are looked up at each use"


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{", '{"image": 1}', '{"image": "x", "command": "x"}', '{"image": "x", "network": "container"}',
     '{"image": "x", "privileged": true}', '{"image": "x", "Network": "host"}'],
)  # fmt: skip
def test_a_request_that_is_not_understood_makes_nothing(user: User, host: Engine, body: str) -> None:
    answer = call(token_of(user, "admin"), LIST, body)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)
    assert host.containers() == []


@pytest.mark.parametrize(
    ("wish", "status"),
    [({}, 400), ([], 400), ({"memory": 64}, 400), ({"pids": True}, 400), ({"pids": 1.5}, 400), ({"image": "x"}, 400),
     ({"memory": "64m", "name": "taken"}, 409), ({"memory": "64m", "restart": "sometimes"}, 400)],
)  # fmt: skip
def test_an_update_that_is_refused_changes_nothing(
    user: User, host: Engine, image: Image, wish: Any, status: int
) -> None:
    before = host.create(ContainerSpec(image=image.tags[0], name="aa", command=("x",)))
    host.create(ContainerSpec(image=image.tags[0], name="taken", command=("x",)))
    answer = call(token_of(user, "write"), f"{LIST}aa/update/", wish)
    assert (answer.status_code, bool(answer.json()["error"])) == (status, True)
    assert host.inspect("aa").spec == before.spec


def test_an_update_changes_all_that_is_given(user: User, host: Engine, image: Image) -> None:
    host.create(ContainerSpec(image=image.tags[0], name="aa", command=("x",)))
    wish = {"name": "bb", "memory": "64m", "cpus": 1, "pids": 99, "restart": "on-failure:3"}
    changed = call(token_of(user, "write"), f"{LIST}aa/update/", wish).json()
    assert (changed["name"], changed["restart"]) == ("bb", "on-failure:3")
    assert changed["limits"] == {"memory_bytes": 64 * 2**20, "cpus": 1, "pids": 99}
    assert len(host.versions("bb")) == 2


def test_a_container_is_started_and_stopped(user: User, engine: Engine, image: Image) -> None:
    small_starter(engine)
    token = token_of(user, "write")
    command = ["sh", "-c", "trap 'exit 7' TERM; echo ready; sleep 1000 & wait"]

    def heeds(runs: int) -> bool:  # TERM: before the trap, the first process of a container hears nothing of it
        return eventually(lambda: [line.text for line in engine.logs("aa")] == ["ready"] * runs)

    made = call(token, LIST, {"image": "wharfie/starter", "name": "aa", "command": command})
    assert (made.status_code, made.json()["state"]) == (201, "created")
    assert call(token, f"{LIST}aa/start/", {}).json()["state"] == "running"
    assert [each["name"] for each in call(token).json()["containers"]] == ["aa"]
    again = call(token, f"{LIST}aa/start/", {})
    assert (again.status_code, again["Content-Type"]) == (409, "application/json")
    assert heeds(1)
    assert call(token, f"{LIST}aa/restart/", {}).json()["state"] == "running"
    assert heeds(2)
    stopped = call(token, f"{LIST}aa/stop/", {}).json()
    assert (stopped["state"], stopped["exit"]["code"]) == ("exited", 7)
    assert call(token, f"{LIST}none/").status_code == 404
