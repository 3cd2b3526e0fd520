"""The second step, sessions, the password, and what ends at once."""

from __future__ import annotations

import io
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from console.accounts.models import SetupLink, User
from console.accounts.profile import client as named
from console.accounts.session import SessionStore
from console.accounts.throttle import Throttle
from engine import Engine
from tests.console.conftest import PASSWORD

pytestmark = pytest.mark.django_db
NEW = "another good password"


def sign_in(name: str = "captain", password: str = PASSWORD) -> Client:
    browser = Client(headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/130 Safari/537"})
    browser.post("/sign-in/", {"username": name, "password": password})
    return browser


def inside(browser: Client) -> bool:
    return browser.get("/account/password/").status_code == 200


def confirm(browser: Client, target: str) -> None:
    """Show the password once more, as pages that change how one signs in ask for."""
    asked = browser.get(target)
    assert asked["Location"].startswith("/account/confirm/?next="), "it is asked for"
    answer = browser.post(asked["Location"], {"password": PASSWORD})
    assert answer["Location"] == target


def code(secret: str, steps_from_now: int = 0) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps_from_now))


def add_app(browser: Client) -> tuple[str, list[str]]:
    """An authenticator app's secret, and the recovery codes that came with it."""
    confirm(browser, "/account/app/add/")
    page = browser.get("/account/app/add/").content.decode()
    secret = re.search(r'id="key"[^>]*value="([A-Z2-7]+)"', page)[1]
    assert 'src="data:image/svg' in page
    answer = browser.post("/account/app/add/", {"code": code(secret)})
    assert answer["Location"] == "/account/codes/"
    shown = re.search(r'<pre class="code whole">([^<]+)', browser.get("/account/codes/").content.decode())[1].split()
    assert len(shown) == 10
    return secret, shown


def test_with_an_app_the_password_is_not_enough(user: User) -> None:
    secret, _codes = add_app(sign_in())
    browser = sign_in()
    assert not inside(browser)
    assert browser.get("/sign-in/second-step/").status_code == 200
    assert "Incorrect code" in browser.post("/sign-in/second-step/", {"code": "000000"}).content.decode()
    assert not inside(browser)
    browser.post("/sign-in/second-step/", {"code": code(secret)})
    assert inside(browser)


def test_an_app_is_one_event_though_recovery_codes_come_with_it(
    user: User, host: Engine, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        add_app(sign_in())
    assert [event.action for event in host.events() if event.action == "add_factor"] == ["add_factor"]


def test_a_code_is_good_once(user: User) -> None:
    secret, _codes = add_app(sign_in())
    used = code(secret)
    for expected in (True, False):
        browser = sign_in()
        browser.post("/sign-in/second-step/", {"code": used})
        assert inside(browser) is expected


def test_a_recovery_code_signs_in_once(user: User) -> None:
    _secret, codes = add_app(sign_in())
    for expected in (True, False):
        browser = sign_in()
        browser.post("/sign-in/second-step/", {"code": codes[0]})
        assert inside(browser) is expected
    assert "8 left" in sign_in_with(codes[1]).get("/account/").content.decode()


def sign_in_with(recovery_code: str) -> Client:
    browser = sign_in()
    browser.post("/sign-in/second-step/", {"code": recovery_code})
    return browser


def test_codes_cannot_be_guessed_one_after_the_other(user: User) -> None:
    secret, _codes = add_app(sign_in())
    browser = sign_in()
    for _guess in range(10):
        browser.post("/sign-in/second-step/", {"code": "000000"})
    browser.post("/sign-in/second-step/", {"code": code(secret)})
    assert not inside(browser)


def test_secrets_are_of_no_use_without_the_key(user: User) -> None:
    secret, codes = add_app(sign_in())
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in stored
    assert not [each for each in codes if each in stored]


def test_a_link_from_an_admin_does_not_go_round_the_second_step(user: User) -> None:
    add_app(sign_in())
    browser = Client()
    browser.post(reverse("accounts:setup", args=[SetupLink.issue(user)]), {"password": NEW, "again": NEW})
    assert not inside(browser)
    assert User.objects.get(pk=user.pk).check_password(NEW)


def test_many_guesses_at_once_are_no_more_than_five(user: User) -> None:
    throttle, gate = Throttle(tries=5, window_s=60), threading.Barrier(20)

    def guess(_number: int) -> int:
        gate.wait()
        return throttle.retry_after_s("captain 127.0.0.1")

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(guess, range(20))).count(0) == 5


def test_a_flood_of_names_does_not_eat_the_memory() -> None:
    throttle = Throttle(tries=5, window_s=60)
    for number in range(throttle.MOST_KEYS + 100):
        throttle.retry_after_s(str(number))
    assert len(throttle._seen) == throttle.MOST_KEYS


def test_a_session_is_ended_from_another(user: User) -> None:
    here, there = sign_in(), sign_in()
    shown = here.get("/account/").content.decode()
    assert shown.count("Chrome · Linux") == 2
    number = re.search(r"/account/sessions/(\d+)/end/\"[^<]*<[^<]*<button[^>]*>End this session", shown)[1]
    here.post(f"/account/sessions/{number}/end/")
    assert (inside(here), inside(there)) == (True, False)


def test_a_request_that_takes_long_does_not_undo_what_another_did(user: User) -> None:
    browser = sign_in()
    slow = SessionStore(browser.session.session_key)
    assert slow["_auth_user_id"] == str(user.pk)  # it has read all
    confirm(browser, "/account/app/add/")
    slow.save()
    assert browser.get("/account/app/add/").status_code == 200


def test_twelve_hours_count_from_the_last_use(user: User) -> None:
    browser = sign_in()
    stored = Session.objects.filter(session_key=browser.session.session_key)
    stored.update(expire_date=timezone.now() + timedelta(minutes=1))
    assert inside(browser)
    assert stored.get().expire_date > timezone.now() + timedelta(hours=11, minutes=59)
    stored.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert not inside(browser)


def test_a_session_that_has_ended_does_not_come_back(user: User) -> None:
    browser = sign_in()
    slow = SessionStore(browser.session.session_key)
    assert slow["_auth_user_id"]
    slow._ends_at -= timedelta(hours=1)
    browser.post("/sign-out/")
    with pytest.raises(UpdateError):
        slow.save()
    assert not Session.objects.exists()


def test_nobody_ends_the_session_of_another(user: User) -> None:
    User.objects.create_user("mate", password=PASSWORD)
    mine = sign_in()
    number = re.search(r"/account/sessions/(\d+)/end/", mine.get("/account/").content.decode())[1]
    assert sign_in("mate").post(f"/account/sessions/{number}/end/").status_code == 404
    assert inside(mine)


def test_a_new_password_ends_the_other_sessions(user: User) -> None:
    here, there = sign_in(), sign_in()
    wrong = here.post("/account/password/", {"old": "not the one at all", "password": NEW, "again": NEW})
    assert (wrong.status_code, inside(there)) == (400, True)
    here.post("/account/password/", {"old": PASSWORD, "password": NEW, "again": NEW})
    assert (inside(here), inside(there), inside(sign_in(password=NEW))) == (True, False, True)


def test_the_password_so_far_is_guessed_five_times_a_minute(user: User) -> None:
    browser = sign_in()
    for _guess in range(5):
        browser.post("/account/password/", {"old": "not the one at all", "password": NEW, "again": NEW})
    assert browser.post("/account/password/", {"old": PASSWORD, "password": NEW, "again": NEW}).status_code == 400


def test_root_sets_a_password_from_the_command_line(
    user: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("console.management.commands.password.migrate", lambda: None)
    browser = sign_in()
    add_app(browser)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NEW}\n"))
    call_command("password", "captain", "--forget-factors")
    assert (inside(browser), inside(sign_in(password=NEW))) == (False, True)
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    with pytest.raises(CommandError, match="at least 12 characters"):
        call_command("password", "captain")
    with pytest.raises(CommandError, match="no user 'nobody'; known: captain"):
        call_command("password", "nobody")


def test_a_browser_is_named_by_what_it_is() -> None:
    windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36"
    assert named(windows) == "Chrome · Windows"
    assert named(f"{windows} Edg/130.0") == "Edge · Windows"
    assert named("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko Firefox/130.0") == "Firefox · Linux"
    assert named("something/1") == "something/1"
