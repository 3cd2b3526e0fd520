"""Signing in with an OpenID Connect provider."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers import registry
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.http import HttpResponse
from django.test import Client

from console.accounts.models import User
from tests import provider as providers
from tests.console.conftest import PASSWORD
from tests.console.serving import TOP

pytestmark = pytest.mark.django_db
BUTTON = "/sign-in/company/"


@pytest.fixture
def provider(settings: Any) -> Iterator[providers.Provider]:
    """A provider, and the settings that its variables make."""
    with providers.running() as provider:
        script = (
            "import json; from console import settings as s;"
            "print(json.dumps([s.OIDC_ISSUER, s.SOCIALACCOUNT_PROVIDERS]))"
        )
        said = subprocess.run(
            [sys.executable, "-c", script],
            cwd=TOP,
            env=os.environ | provider.environment,
            capture_output=True,
            check=True,
        )
        settings.OIDC_ISSUER, settings.SOCIALACCOUNT_PROVIDERS = json.loads(said.stdout)
        registry.register(OpenIDConnectProvider)  # as its app does, which is installed where there is an issuer
        yield provider
        del registry.provider_map[OpenIDConnectProvider.id]


def leave(browser: Client, query: str = "") -> str:
    """Click the button; the address of the provider that the browser is sent to."""
    page = browser.post(BUTTON + query)
    assert page.status_code == 200, "no redirect: the policy lets no form end on another site"
    return unescape(re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', page.content.decode())[1])


def come_back(browser: Client, there: str) -> HttpResponse:
    """What the provider makes of it, and the console of that."""
    where = urlsplit(there)
    connection = http.client.HTTPConnection(where.netloc, timeout=10)
    connection.request("GET", f"{where.path}?{where.query}")
    back = connection.getresponse().headers["Location"]
    connection.close()
    assert back.startswith("http://testserver/sign-in/company/callback/?")
    return browser.get(back)


def test_without_a_provider_there_is_no_way_to_it_and_none_of_its_code() -> None:
    assert Client().post(BUTTON).status_code == 404
    assert Client().get(f"{BUTTON}callback/").status_code == 404
    script = (
        "import sys, console.asgi; from django.urls import get_resolver; get_resolver().url_patterns;"
        "print('requests' in sys.modules)"
    )
    settings = {name: value for name, value in os.environ.items() if not name.startswith("WHARFIE_OIDC")}
    with providers.running() as provider:
        for more, there in (({}, "False"), (provider.environment, "True")):
            said = subprocess.run(
                [sys.executable, "-c", script], cwd=TOP, env=settings | more, capture_output=True, text=True, check=True
            )
            assert said.stdout.strip() == there


def test_who_comes_from_the_provider_is_a_member_and_the_same_each_time(provider: providers.Provider) -> None:
    for _time in range(2):
        browser = Client()
        assert come_back(browser, leave(browser))["Location"] == "/"
        made = User.objects.get()
        assert browser.session["_auth_user_id"] == str(made.pk)
    assert (made.username, made.is_superuser, made.has_usable_password(), made.email) == ("priya", False, False, "")
    assert provider.refused == []


def test_a_name_or_a_mail_address_of_the_provider_opens_nobodys_account(provider: providers.Provider) -> None:
    captain = User.objects.create_superuser("captain", "captain@example.net", PASSWORD)
    provider.who |= {"preferred_username": "captain", "email": "captain@example.net"}
    browser = Client()
    come_back(browser, leave(browser))
    other = User.objects.exclude(pk=captain.pk).get()
    assert (browser.session["_auth_user_id"], other.is_superuser) == (str(other.pk), False)
    assert other.username != "captain"


def test_the_answer_to_another_browsers_question_is_refused(provider: providers.Provider) -> None:
    there = leave(Client())
    victim = Client()
    come_back(victim, there)
    assert "_auth_user_id" not in victim.session
    assert not User.objects.exists()


def test_a_token_for_another_client_is_refused(provider: providers.Provider) -> None:
    provider.audience = "another"
    browser = Client()
    answer = come_back(browser, leave(browser))
    assert answer["Location"] == "/sign-in/"
    assert "did not sign you in" in browser.get("/sign-in/").content.decode()
    assert not User.objects.exists()


def test_who_is_switched_off_does_not_come_in(provider: providers.Provider) -> None:
    come_back(browser := Client(), leave(browser))
    User.objects.update(is_active=False)
    browser = Client()
    assert come_back(browser, leave(browser))["Location"] == "/sign-in/"
    assert "This account is switched off" in browser.get("/sign-in/").content.decode()


def test_an_account_is_connected_and_disconnected(provider: providers.Provider, user: User) -> None:
    mine = Client()
    mine.post("/sign-in/", {"username": "captain", "password": PASSWORD})
    assert come_back(mine, leave(mine, "?process=connect"))["Location"] == "/account/"
    assert SocialAccount.objects.get().user == user
    browser = Client()
    come_back(browser, leave(browser))
    assert browser.session["_auth_user_id"] == str(user.pk)
    mine.post("/account/provider/untie/")
    assert not SocialAccount.objects.exists()


def test_who_has_no_password_stays_connected(provider: providers.Provider) -> None:
    browser = Client()
    come_back(browser, leave(browser))
    assert browser.post("/account/provider/untie/").status_code == 409
    assert browser.post("/account/password/", {"password": PASSWORD, "again": PASSWORD}).status_code == 302
    assert browser.post("/account/provider/untie/").status_code == 302


def test_without_a_provider_there_is_none(user: User) -> None:
    assert Client().post(BUTTON).status_code == 404
    assert BUTTON not in Client().get("/sign-in/").content.decode()
