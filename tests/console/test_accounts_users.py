"""Users, for admins: make, change, remove; somebody is always left to do it."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from console.accounts.models import ApiToken, User
from engine import Engine, EventFilter
from tests.console.conftest import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.fixture
def mate(db: None) -> User:
    return User.objects.create_user("mate", password=PASSWORD)


def browser_of(person: User) -> Client:
    browser = Client()
    browser.post("/sign-in/", {"username": person.username, "password": PASSWORD})
    return browser


def inside(browser: Client) -> bool:
    return browser.get("/account/password/").status_code == 200


def test_members_see_no_users(mate: User, user: User, host: Engine) -> None:
    browser = browser_of(mate)
    assert "/users/" not in browser.get("/").content.decode()
    for path in ("/users/", "/users/create/", f"/users/{user.pk}/remove/"):
        assert browser.get(path).status_code == 403
    for act in ("link", "demote", "disable", "promote", "forget-factors", "remove"):
        assert browser.post(f"/users/{user.pk}/{act}/").status_code == 403, act
    assert browser.post(f"/users/{mate.pk}/promote/").status_code == 403
    assert User.objects.get(pk=mate.pk).is_superuser is False
    assert User.objects.get(pk=user.pk).is_active


def test_a_user_is_made_with_a_link_that_works_once(page: Client) -> None:
    shown = page.post("/users/create/", {"username": "mate", "role": "member", "password": ""}).content.decode()
    path = re.search(r"http://testserver(/setup/[^<\s]+)", shown)[1]
    guest = Client()
    assert "mate" in guest.get(path).content.decode()
    answer = guest.post(path, {"username": "captain", "password": PASSWORD, "again": PASSWORD})
    assert answer["Location"] == "/"
    made = User.objects.get(username="mate")
    assert (guest.session["_auth_user_id"], made.is_superuser) == (str(made.pk), False)
    assert Client().post(path, {"password": PASSWORD, "again": PASSWORD}).status_code == 410


def test_a_user_is_made_with_a_password(page: Client) -> None:
    assert page.post("/users/create/", {"username": "mate", "role": "admin", "password": "short"}).status_code == 400
    assert page.post("/users/create/", {"username": "mate", "role": "admin", "password": PASSWORD}).status_code in (
        302,
        303,
    )
    assert inside(browser_of(User.objects.get(username="mate", is_superuser=True)))
    again = page.post("/users/create/", {"username": "MATE", "role": "member", "password": ""})
    assert "There is a user MATE already" in again.content.decode()


def test_who_is_switched_off_is_out_at_once(page: Client, mate: User) -> None:
    browser = browser_of(mate)
    link = re.search(r"http://testserver(/setup/\S+?)<", page.post(f"/users/{mate.pk}/link/").content.decode())[1]
    token = ApiToken.issue(mate, name="x", scope="read")
    page.post(f"/users/{mate.pk}/disable/")
    assert not inside(browser)
    assert not inside(browser_of(mate))
    assert ApiToken.find(token) is None
    assert Client().get(link).status_code == 410
    page.post(f"/users/{mate.pk}/enable/")
    assert not inside(browser), "the old session does not come back"
    assert inside(browser_of(mate))


def test_roles_change(page: Client, mate: User) -> None:
    page.post(f"/users/{mate.pk}/promote/")
    assert User.objects.get(pk=mate.pk).is_superuser
    page.post(f"/users/{mate.pk}/demote/")
    assert not User.objects.get(pk=mate.pk).is_superuser


@pytest.mark.parametrize("act", ["demote", "disable", "remove"])
def test_the_last_admin_stays(page: Client, user: User, mate: User, act: str) -> None:
    pending = User.objects.create_user("pending", is_superuser=True)  # has never chosen a password
    assert not pending.has_usable_password()
    answer = page.post(f"/users/{user.pk}/{act}/")
    assert answer.status_code == 409
    assert "is the last admin" in answer.content.decode()
    assert User.objects.get(pk=user.pk).is_superuser
    page.post(f"/users/{mate.pk}/promote/")
    assert page.post(f"/users/{user.pk}/{act}/").status_code in (302, 303)


def test_a_deleted_user_is_gone_with_all_that_signs_in(page: Client, mate: User) -> None:
    browser = browser_of(mate)
    token = ApiToken.issue(mate, name="x", scope="read")
    assert "Containers and volumes stay" in page.get(f"/users/{mate.pk}/remove/").content.decode()
    page.post(f"/users/{mate.pk}/remove/")
    assert not User.objects.filter(username="mate").exists()
    assert (inside(browser), ApiToken.find(token)) == (False, None)


def test_what_happens_to_accounts_is_told_to_admins_alone(page: Client, mate: User, user: User, host: Engine) -> None:
    browser = browser_of(mate)
    for act in ("promote", "demote", "disable", "enable"):
        page.post(f"/users/{mate.pk}/{act}/")
    page.post(f"/users/{mate.pk}/link/")
    page.post("/users/create/", {"username": "cook", "role": "member", "password": PASSWORD})
    page.post(f"/users/{User.objects.get(username='cook').pk}/remove/")
    told = [(event.name, event.action, event.by) for event in host.find_events(EventFilter(kind="account"))]
    by = "captain"
    assert told == [
        ("cook", "remove", by), ("cook", "create", by), ("mate", "link", by), ("mate", "enable", by),
        ("mate", "disable", by), ("mate", "demote", by), ("mate", "promote", by), ("mate", "sign_in", "mate"),
    ]  # fmt: skip
    shown = page.get("/events/?kind=account").content.decode()
    assert "Account became an admin" in shown
    assert "Account became an admin" in page.get("/").content.decode()
    browser = browser_of(mate)
    for path in ("/events/", "/events/?kind=account", "/"):
        shown = browser.get(path).content.decode()
        assert "Account became" not in shown, path
    assert "kind=account" not in browser.get("/events/").content.decode()
