"""Accounts in a real browser: what WebAuthn, the content policy and other sites' pages make of them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests import provider as providers
from tests.browser.conftest import PASSWORD, Console, authenticator, picture, sign_up

pytestmark = pytest.mark.browser
NEXT = "another long and quiet harbour"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[providers.Provider]:
    """Before the console: it learns of it from its environment."""
    with providers.running() as provider:
        for name, value in provider.environment.items():
            monkeypatch.setenv(name, value)
        yield provider


def sign_out(page: Page) -> None:
    # A socket that is just being opened would be refused, and the browser says so.
    expect(page.locator("[data-connection]").first).to_have_text("Live, 1 s")
    page.locator("[popovertarget=user]:visible").first.click()
    page.get_by_role("button", name="Sign out").first.click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_passkey_is_the_second_step_and_signs_in_alone(page: Page, local: Console) -> None:
    sign_up(page, local)
    authenticator(page)
    page.goto(f"{local.address}/account/passkeys/add/")
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    picture(page, "account-confirm")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name", exact=True).fill("my laptop")
    picture(page, "passkey-add")
    page.get_by_role("button", name="Add the passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    picture(page, "recovery-codes")
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("my laptop")).to_be_visible()
    expect(page.get_by_text("signs in alone")).to_be_visible()
    picture(page, "account")
    page.emulate_media(color_scheme="dark")
    picture(page, "account-night")

    sign_out(page)
    picture(page, "sign-in-passkey")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_url(f"{local.address}/")

    sign_out(page)
    page.get_by_label("User name").fill("captain")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    picture(page, "second-step")
    page.goto(f"{local.address}/account/")
    expect(page).to_have_url(re.compile("/sign-in/"))
    page.goto(f"{local.address}/sign-in/second-step/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_url(f"{local.address}/")

    page.goto(f"{local.address}/account/")
    page.get_by_role("link", name="Remove the passkey").click()
    page.get_by_role("link", name="Use a security key").click()
    page.get_by_role("button", name="Use a passkey").click()
    page.get_by_role("button", name="Remove the passkey").click()
    expect(page.get_by_text("my laptop")).to_have_count(0)


def test_a_passkey_that_is_refused_is_said(page: Page, local: Console) -> None:
    sign_up(page, local)
    sign_out(page)
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")  # and there is no authenticator
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options | {"isUserVerified": False}})
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("The passkey was not accepted.")).to_be_visible(timeout=70_000)


def test_an_address_without_a_name_offers_no_passkeys(page: Page, console: Console) -> None:
    page.goto(f"{console.address}/sign-in/")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(page.get_by_role("button", name="Use a passkey")).to_be_hidden()


def test_the_provider_signs_in_by_a_click(provider: providers.Provider, page: Page, console: Console) -> None:
    page.goto(f"{console.address}/sign-in/")
    picture(page, "sign-in")
    page.set_viewport_size({"width": 390, "height": 844})
    picture(page, "sign-in-phone")
    page.get_by_role("button", name="Continue with harbour office").click()
    expect(page).to_have_url(f"{console.address}/")
    page.goto(f"{console.address}/account/")
    expect(page.get_by_role("heading", name="priya")).to_be_visible()
    expect(page.get_by_text("Connected")).to_be_visible()
    picture(page, "account-phone")
    assert provider.refused == []


def test_an_admin_makes_a_user_who_chooses_a_password(page: Page, console: Console) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/users/")
    page.get_by_role("link", name="Create user").click()
    page.get_by_label("User name").fill("mate")
    picture(page, "user-create")
    page.get_by_role("button", name="Create user").click()
    link = page.locator("[data-link]").inner_text()
    picture(page, "user-link")
    page.get_by_role("link", name="Done").click()
    page.get_by_text("Change mate").click()
    picture(page, "users")
    page.emulate_media(color_scheme="dark")
    picture(page, "users-night")
    page.set_viewport_size({"width": 390, "height": 844})
    picture(page, "users-phone")
    page.set_viewport_size({"width": 1440, "height": 900})

    other = page.context.browser.new_context()
    guest = other.new_page()
    guest.goto(link)
    for field in guest.locator("input[type=password]").all():
        field.fill("the mate's long password")
    guest.get_by_role("button", name="Set the password").click()
    expect(guest).to_have_url(f"{console.address}/")
    expect(guest.get_by_role("link", name="Users")).to_have_count(0)

    # Switched off while his page is open: it learns so by itself.
    page.get_by_role("button", name="Switch off").last.click()
    expect(guest.get_by_role("heading", name="Sign in")).to_be_visible(timeout=15_000)
    other.close()


def test_a_new_password_ends_the_session_that_asked_for_it_only_once_the_next_one_is_there(
    page: Page, console: Console
) -> None:
    """The page's socket is closed as soon as the password is changed, and the answer may come later."""
    sign_up(page, console)
    page.goto(f"{console.address}/account/password/")
    expect(page.locator("[data-connection]").first).to_have_text("Live, 1 s")

    def late(route: Route) -> None:
        if route.request.method != "POST":
            return route.continue_()
        answer = route.fetch(max_redirects=0)
        time.sleep(1)  # the browser goes on meanwhile
        return route.fulfill(response=answer)

    page.route("**/account/password/", late)
    for field, text in zip(page.locator("main [type=password]").all(), (PASSWORD, NEXT, NEXT), strict=True):
        field.fill(text)
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("heading", name="Sessions")).to_be_visible()


def test_a_token_is_shown_once(page: Page, console: Console) -> None:
    sign_up(page, console)
    page.goto(f"{console.address}/account/tokens/create/")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name", exact=True).fill("nightly backup")
    picture(page, "token-create")
    page.get_by_role("button", name="Create token").click()
    token = page.locator("[data-token]").inner_text()
    picture(page, "token-made")
    answer = page.request.get(f"{console.address}/api/v1/containers/", headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"containers": []}
    page.get_by_role("link", name="I have kept it").click()
    expect(page.get_by_text("nightly backup")).to_be_visible()
    assert token not in page.content()
    page.get_by_role("link", name="Add an app").click()
    picture(page, "app-add")
