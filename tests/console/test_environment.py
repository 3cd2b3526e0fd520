"""Values of variables may be secrets: pages have names alone, and who may be in the container may ask; it is told."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from console import gateway
from console.accounts.models import User
from engine import ContainerSpec, Engine, Image, NetworkMode
from tests.console.conftest import HTMX, PASSWORD

pytestmark = pytest.mark.django_db
SECRET = "swordfish"


@pytest.fixture
def dock(image: Image) -> Engine:
    engine = gateway.engine()
    env = (f"PASSWORD={SECRET}", "PLAIN=")
    engine.create(ContainerSpec(image="team/empty:1", name="web", command=("x",), env=env))
    engine.create(ContainerSpec(image="team/empty:1", name="host", command=("x",), env=env, network=NetworkMode.HOST))
    return engine


@pytest.fixture
def mate(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_user("mate", password=PASSWORD))
    return client


PAGES = ("/containers/", "/containers/{}/", "/containers/{}/config/", "/containers/{}/events/", "/search/?q={}")


@pytest.mark.parametrize("name", ["web", "host"])
def test_no_page_has_a_value_that_nobody_asked_for(page: Client, mate: Client, dock: Engine, name: str) -> None:
    for browser in (page, mate):
        for path in PAGES:
            shown = browser.get(path.format(name)).content.decode()
            assert SECRET not in shown, path
    config = page.get(f"/containers/{name}/config/").content.decode()
    assert "--env PASSWORD" in config
    assert "PASSWORD: null" in config
    assert [event.action for event in dock.events() if event.action == "reveal"] == []


def test_who_may_be_in_the_container_sees_them_and_that_is_told(page: Client, mate: Client, dock: Engine) -> None:
    assert "Show the values" in mate.get("/containers/web/").content.decode()
    assert mate.get("/containers/web/environment/").status_code == 405
    part = mate.post("/containers/web/environment/", headers=HTMX).content.decode()
    assert f"PASSWORD={SECRET}" in part
    assert "<html" not in part
    assert f"PASSWORD={SECRET}" in page.post("/containers/web/environment/").content.decode()
    assert [(event.name, event.by) for event in dock.events() if event.action == "reveal"] == [
        ("web", "mate"), ("web", "captain"),
    ]  # fmt: skip
    assert "had the values of its variables shown" in page.get("/containers/web/events/").content.decode()


def test_a_member_does_not_see_those_of_a_container_for_admins(page: Client, mate: Client, dock: Engine) -> None:
    assert "Show the values" not in mate.get("/containers/host/").content.decode()
    refused = mate.post("/containers/host/environment/")
    assert (refused.status_code, SECRET in refused.content.decode()) == (403, False)
    for path in ("/containers/-/create/?like=host", "/containers/host/recreate/"):
        shown = mate.get(path).content.decode()
        assert SECRET not in shown
        assert re.search(r"^PASSWORD$|>\s*PASSWORD\s", shown, re.MULTILINE), "the names are there"
        assert SECRET in page.get(path).content.decode()
    assert {event.by for event in dock.events() if event.action == "reveal"} == {"captain"}
