"""Signing in: the setup link, the password, and slowing down who guesses."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from console.accounts.models import SetupLink, User
from console.accounts.throttle import Throttle
from engine import Engine
from tests.console.conftest import PASSWORD

pytestmark = pytest.mark.django_db
CHOICE = {"username": "captain", "password": PASSWORD, "again": PASSWORD}


def setup_url() -> str:
    return reverse("accounts:setup", args=[SetupLink.issue()])


def test_a_setup_link_makes_an_account_and_signs_it_in(client: Client) -> None:
    answer = client.post(setup_url(), CHOICE)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.session["_auth_user_id"] == str(User.objects.get(username="captain").pk)


def test_the_first_account_is_told_as_created_and_later_as_a_new_password(client: Client, host: Engine) -> None:
    for _ in range(2):
        Client().post(setup_url(), CHOICE)
    told = [event.action for event in host.events() if event.kind == "account" and event.action != "sign_in"]
    assert told == ["create", "password"]


def test_a_setup_link_works_once(client: Client) -> None:
    url = setup_url()
    client.post(url, CHOICE)
    again = Client().post(url, CHOICE | {"username": "thief"})
    assert again.status_code == 410
    assert not User.objects.filter(username="thief").exists()


def test_looking_at_a_setup_link_does_not_use_it_up(client: Client) -> None:
    url = setup_url()
    assert [client.get(url).status_code for _ in range(3)] == [200, 200, 200]
    assert client.post(url, CHOICE).status_code == 302


def test_a_refused_password_does_not_use_the_link_up(client: Client) -> None:
    url = setup_url()
    short = client.post(url, {"username": "captain", "password": "short", "again": "short"})
    assert short.status_code == 400
    assert "at least 12 characters" in short.content.decode()
    assert client.post(url, CHOICE).status_code == 302


def test_a_setup_link_expires_after_30_minutes(client: Client) -> None:
    url = setup_url()
    SetupLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(url).status_code == 410
    assert client.post(url, CHOICE).status_code == 410
    assert not User.objects.exists()


def test_a_new_setup_link_withdraws_the_earlier_one(client: Client) -> None:
    first = setup_url()
    setup_url()
    assert client.get(first).status_code == 410


def test_the_token_itself_is_not_stored() -> None:
    token = SetupLink.issue()
    assert token not in str(SetupLink.objects.values())


def test_a_setup_link_resets_a_password_and_ends_the_old_sessions(page: Client, user: User) -> None:
    new = "another good password"
    Client().post(setup_url(), {"username": user.username, "password": new, "again": new})
    assert page.get("/").status_code == 302
    assert User.objects.get(pk=user.pk).check_password(new)


def test_the_setup_link_command_prints_a_link_that_works(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("setup_link")
    url = capsys.readouterr().out.strip()
    assert url.startswith("http://127.0.0.1:8000/setup/")
    assert client.get(url.removeprefix("http://127.0.0.1:8000")).status_code == 200


def test_name_and_password_sign_in(client: Client, user: User) -> None:
    answer = client.post("/sign-in/", {"username": "captain", "password": PASSWORD, "next": "/images/"})
    assert (answer.status_code, answer["Location"]) == (302, "/images/")


@pytest.mark.parametrize("target", ["https://elsewhere.example/", "//elsewhere.example", "javascript:alert(1)"])
def test_sign_in_never_leads_to_another_site(client: Client, user: User, target: str) -> None:
    answer = client.post("/sign-in/", {"username": "captain", "password": PASSWORD, "next": target})
    assert answer["Location"] == "/"


def test_the_sixth_try_in_a_minute_is_refused_even_with_the_right_password(client: Client, user: User) -> None:
    wrong = {"username": "captain", "password": "a wrong guess"}
    assert [client.post("/sign-in/", wrong).status_code for _ in range(5)] == [400] * 5
    answer = client.post("/sign-in/", wrong | {"password": PASSWORD})
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 60


def test_a_throttle_opens_again_when_the_window_has_passed() -> None:
    now = 100.0
    throttle = Throttle(tries=2, window_s=60, clock=lambda: now)
    assert [throttle.retry_after_s("a") for _ in range(3)] == [0, 0, 60]
    assert throttle.retry_after_s("b") == 0
    now = 159.0
    assert throttle.retry_after_s("a") == 1
    now = 160.0
    assert throttle.retry_after_s("a") == 0


def test_signing_out_ends_the_session(page: Client) -> None:
    assert page.get("/sign-out/").status_code == 405
    page.post("/sign-out/")
    assert page.get("/")["Location"].startswith("/sign-in/")


def test_nobody_has_an_account_before_somebody_chose_one(client: Client) -> None:
    assert not User.objects.exists()
    assert "Nobody has an account yet" in client.get("/sign-in/").content.decode()
