"""What guards every address: sign-in, CSRF, content policy, host names; and how the engine's errors are answered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from django_htmx.middleware import HtmxDetails

from console import gateway
from console.accounts.models import User
from engine import Engine, errors
from tests.console.conftest import PASSWORD

OPEN = {
    "healthz",
    "language/",
    "sign-in/",
    "sign-in/second-step/",
    "sign-in/passkey/",
    "sign-in/<str:provider_id>/",
    "sign-in/<str:provider_id>/callback/",
    "sign-out/",
    "setup/<str:token>/",
    "static/<path:name>",
}
EXAMPLES = {
    "<str:token>": "x",
    "<int:number>": "1",
    "<int:pk>": "1",
    "<path:name>": "icons.svg",
    "<str:ref>": "x",
    "<str:name>": "x",
    "<str:task_id>": "x",
}


def addresses(resolver: URLResolver, before: str = "") -> Iterator[str]:
    for entry in resolver.url_patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield route
        else:
            yield from addresses(entry, route)


ALL = sorted(addresses(get_resolver()))


def example(route: str) -> str:
    for variable, value in EXAMPLES.items():
        route = route.replace(variable, value)
    return f"/{route}"


def test_only_these_addresses_are_open_to_everybody() -> None:
    assert set(ALL) >= OPEN


@pytest.mark.django_db
@pytest.mark.parametrize("route", [route for route in ALL if route not in OPEN])
@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_gets_in_without_signing_in(client: Client, route: str, method: str) -> None:
    answer = getattr(client, method)(example(route))
    if route.startswith("api/"):
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer"), route
        return
    assert answer.status_code == 302, route
    assert answer["Location"].startswith("/sign-in/?next=")


@pytest.mark.django_db
def test_a_fragment_without_a_session_sends_the_whole_page_to_the_sign_in(client: Client) -> None:
    answer = client.get("/containers/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"], answer.content) == (401, "/sign-in/", b"")


@pytest.mark.django_db
@pytest.mark.parametrize("route", ALL)
def test_a_post_without_the_csrf_token_is_refused(user: object, route: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    refused = 401 if route.startswith("api/") else 403  # a session is no way into the API
    assert strict.post(example(route), {"name": "x"}).status_code == refused


@pytest.mark.django_db
def test_only_who_signs_out_loses_the_cookie(page: Client, user: User) -> None:
    """Else an answer to a session that has just been exchanged for another one takes the other one's."""
    name = settings.SESSION_COOKIE_NAME
    for fragment in ({}, {"HX-Request": "true"}):
        stranger = Client()
        stranger.cookies[name] = "0" * 32
        answer = stranger.get("/jobs/frame/", headers=fragment)
        assert answer.status_code in (302, 401)
        assert name not in answer.cookies
    key = page.cookies[name].value
    user.set_password("a new and quiet harbour")
    user.save()
    answer = page.get("/jobs/frame/", headers={"HX-Request": "true"})
    assert (answer.status_code, name in answer.cookies) == (401, False)
    page.force_login(user)
    assert page.cookies[name].value != key
    assert page.post("/sign-out/").cookies[name].value == ""


@pytest.mark.django_db
def test_every_page_sends_a_policy_whose_nonce_its_scripts_carry(client: Client) -> None:
    first, second = client.get("/sign-in/"), client.get("/sign-in/")
    policy = first["Content-Security-Policy"]
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert policy.startswith("default-src 'none'; script-src 'nonce-")
    assert "unsafe" not in policy
    assert f'<script nonce="{nonce}"' in first.content.decode()
    assert nonce not in second["Content-Security-Policy"]


@pytest.mark.django_db
def test_no_page_carries_inline_style_or_an_event_handler(page: Client, host: Engine) -> None:
    for path in (
        "/",
        "/containers/",
        "/containers/-/create/",
        "/images/",
        "/images/import/",
        "/volumes/",
        "/account/",
        "/users/",
        "/users/create/",
    ):
        text = page.get(path).content.decode()
        assert " style=" not in text, path
        assert " onclick=" not in text, path


@pytest.mark.django_db
def test_another_host_name_is_refused(client: Client) -> None:
    assert client.get("/sign-in/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.django_db
def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(client: Client, user: object) -> None:
    client.post("/sign-in/", {"username": "captain", "password": PASSWORD})
    cookie = client.cookies["wharfie_session"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidRequest, 400),
        (errors.CommandNotFound, 400),
        (errors.CommandNotExecutable, 400),
        (errors.Denied, 403),
        (errors.NotFound, 404),
        (errors.AlreadyExists, 409),
        (errors.WrongState, 409),
        (errors.Busy, 409),
        (errors.Corrupt, 500),
        (errors.KernelError, 500),
        (errors.Unsupported, 501),
        (errors.Unavailable, 503),
    ],
)
def test_each_error_of_the_engine_has_its_status(error: type[errors.EngineError], status: int) -> None:
    assert gateway.status_of(error("it failed")) == status


def test_for_htmx_an_error_is_a_toast_that_says_what_to_do(rf: RequestFactory) -> None:
    request = rf.get("/", headers={"HX-Request": "true"})
    request.htmx = HtmxDetails(request)
    answer = gateway.answer(request, errors.Busy("it is <in> use", hint="stop it first"))
    assert (answer.status_code, answer["HX-Retarget"], answer["HX-Reswap"]) == (409, "#toasts", "beforeend")
    assert "It is &lt;in&gt; use. Stop it first." in answer.content.decode()
