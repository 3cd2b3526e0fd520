"""Every page there is, is walked in the browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve

from console.accounts.models import ApiToken, User
from console.jobs.models import Record
from engine import ContainerSpec, Engine, Image
from tests import leaks
from tests.browser import pages

pytestmark = pytest.mark.django_db
PLACE = re.compile(r"<[^>]*>")
NO_PAGES = {
    "containers:head": "a part of a page, fetched again while it is open",
    "containers:menu": "the same",
    "jobs:frame": "the same",
    "overview-users": "the same",
    "containers:log-lines": "figures for a script",
    "mfa_login_webauthn": "the same, for a passkey",
    "jobs:log": "a text",
    "healthz": "a word for monitors",
    "engine": "a part of a page, fetched again while nobody serves the engine",
    "static": "a file",
    "containers:log-download": "a download",
    "containers:download": "the same",
    "containers:export": "the same",
    "jobs:file": "the same",
    "system:backup": "the same",
    "language": "leads back to where one was",
    "openid_connect_login": "leads to the provider",
    "openid_connect_callback": "leads back from it",
}


def patterns(resolver: URLResolver, way: str = "", spaces: str = "") -> Iterator[tuple[str, str]]:
    """The name and the route of each address, but for programs'. One that has two names is told once."""
    found: dict[str, str] = {}
    for each in resolver.url_patterns:
        if isinstance(each, URLPattern):
            found.setdefault(f"{way}{each.pattern}", f"{spaces}{each.name}")
        elif each.app_name != "api":
            space = f"{each.app_name}:" if each.app_name else ""
            found = {route: name for name, route in patterns(each, f"{way}{each.pattern}", spaces + space)} | found
    yield from ((name, route) for route, name in found.items())


def walked() -> set[str]:
    """The names of what is walked."""
    every = (*pages.OUTSIDE, *pages.PAGES, *pages.SECURED, *pages.HALFWAY)
    addresses = (re.sub(r"{\w+}", "1", path).partition("?")[0] for path in every if path != pages.NOWHERE)
    return {resolve(address).view_name for address in addresses}


def test_each_address_that_shows_a_page_is_walked(page: Client, host: Engine) -> None:
    page.raise_request_exception = False
    known = walked() | set(NO_PAGES)
    others = {name: route for name, route in patterns(get_resolver()) if name not in known}
    assert {name for name, route in others.items() if page.get(PLACE.sub("1", f"/{route}")).status_code != 405} == set()


def test_what_is_said_to_be_no_page_is_there_and_not_walked() -> None:
    assert set(NO_PAGES) <= {name for name, _route in patterns(get_resolver())}
    assert not set(NO_PAGES) & walked()


def everything(engine: Engine) -> dict[str, set[str]]:
    """What the engine and the console keep, but for when somebody was here last, and that somebody has seen secrets."""
    ours = {
        f"{model.__name__} {row}"
        for model in apps.get_models()
        if model not in (Session, UserSession)
        for row in model.objects.values_list()
    }
    events = {str(event) for event in engine.events() if event.action != "reveal"}
    return leaks.store(engine.paths.root) | {"ours": ours, "event": events}


def test_looking_at_any_address_changes_nothing(page: Client, engine: Engine, image: Image, user: User) -> None:
    page.raise_request_exception = False
    web = engine.create(ContainerSpec(image="team/empty:1", name="web", env=("A=1",)))
    engine.browse.list(web.id, "/")  # its file system is put together for the first time
    engine.create_volume("web")
    job = Record.objects.create(title="x", owner=user, status="done", ended_at_ns=1, seen=True)
    ApiToken.objects.create(user=user, name="x", token_hash="x", scope="read")
    values = {"name": "web", "number": str(user.pk), "pk": "1", "job_id": job.id, "session": "0" * 12}
    answered: dict[int, int] = {}
    before = everything(engine)
    for name, route in patterns(get_resolver()):
        path = f"/{route}".replace("<str:ref>", image.id if name.startswith("images:") else "web")
        for known, value in values.items():
            path = re.sub(rf"<\w+:{known}>", value, path)
        status = page.get(PLACE.sub("1", path), {"path": "/etc", "q": "web"}).status_code
        answered[status] = answered.get(status, 0) + 1
    assert answered[200] > 40
    assert 500 not in answered
    after = everything(engine)
    assert {kind: after[kind] ^ before[kind] for kind in before if after[kind] != before[kind]} == {}
