"""Static files: sent once, and asked for again only after an update."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from console import assets
from console.remembering import MOST, SAME, Remembering
from engine import Engine
from tests.conftest import eventually
from tests.console.serving import PASSWORD, Serve, Visitor


def test_a_file_under_its_version_is_kept_for_ever(client: Client) -> None:
    url = assets.VersionedStorage(base_url="/static/").url("js/live.js")
    assert "immutable" in client.get(url)["Cache-Control"]
    assert client.get("/static/js/live.js?v=older")["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_who_has_a_file_is_told_so_and_not_sent_it(client: Client, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    first = client.get("/static/vendor/xterm/xterm.mjs", headers=headers)
    again = client.get("/static/vendor/xterm/xterm.mjs", headers=headers | {"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert again["Cache-Control"] == "no-cache"
    stale = client.get("/static/vendor/xterm/xterm.mjs", headers=headers | {"If-None-Match": 'W/"older"'})
    assert (stale.status_code, stale.content) == (200, first.content)


@pytest.mark.django_db
def test_each_module_that_another_imports_is_found_under_its_version(page: Client, host: Engine) -> None:
    found = re.search(r'type="importmap">(.+?)</script>', page.get("/").content.decode())
    assert found
    imports = json.loads(found[1])["imports"]
    wanted = {"/static/js/live.js", "/static/js/tables.js", "/static/vendor/xterm/xterm.mjs"}
    assert wanted <= imports.keys()
    for url in imports.values():
        assert "immutable" in page.get(url)["Cache-Control"], url


class Application:
    """Answers as Django does, and counts."""

    def __init__(self, cache: str, **more: str) -> None:
        self.asked = 0
        self._headers = {"Cache-Control": cache} | more

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": repr(scope["headers"]).encode()})


def answers(application: Any, **scope: Any) -> list[Any]:
    """What a browser is sent."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    usual = {"method": "GET", "scheme": "http", "path": "/static/js/a.js", "query_string": b"v=0123456789ab"}
    asyncio.run(application(usual | {"headers": [(b"host", b"one")]} | scope, None, send))
    return sent


def test_the_answer_with_a_file_under_its_version_is_given_again() -> None:
    application = Application(SAME.decode())
    remembering = Remembering(application)
    first = answers(remembering)
    assert first[1]["body"] == b"[(b'host', b'one')]"
    assert answers(remembering) == first
    assert application.asked == 1
    others: list[dict[str, Any]] = [
        {"headers": [(b"host", b"two")]}, {"scheme": "https"}, {"path": "/static/js/b.js"},
        {"headers": [(b"host", b"one"), (b"accept-encoding", b"br, gzip")]}, {"query_string": b"v=ba9876543210"},
        {"headers": [(b"host", b"one"), (b"x-forwarded-proto", b"https")]},
    ]  # fmt: skip
    for number, other in enumerate(others, 2):
        answers(remembering, **other)
        assert application.asked == number, other
    assert answers(remembering) == first


@pytest.mark.parametrize(
    "scope",
    [
        {"method": "HEAD"}, {"path": "/jobs/"}, {"query_string": b""}, {"query_string": b"v=0123456789ab&more"},
        {"headers": [(b"host", b"one"), (b"if-none-match", b'W/"0123456789ab"')]},
    ],
)  # fmt: skip
def test_any_other_answer_is_made_anew(scope: dict[str, Any]) -> None:
    application = Application(SAME.decode())
    remembering = Remembering(application)
    for number in (1, 2):
        answers(remembering, **scope)
        assert application.asked == number


def test_what_a_browser_is_not_to_keep_is_not_kept_here() -> None:
    application = Application("no-cache")
    remembering = Remembering(application)
    assert answers(remembering) == answers(remembering)
    assert application.asked == 2


def test_who_asks_for_a_file_is_not_passed_on_and_nothing_that_is_one_browsers_is_kept() -> None:
    application = Application(SAME.decode(), Set_Cookie="session=captain")
    remembering = Remembering(application)
    headers = [(b"host", b"one"), (b"cookie", b"session=captain"), (b"authorization", b"Bearer captain")]
    for number in (1, 2):
        assert b"captain" not in answers(remembering, headers=headers)[1]["body"]
        assert application.asked == number
    assert b"captain" in answers(remembering, headers=headers, path="/jobs/")[1]["body"]


def test_no_more_answers_are_kept_than_files_have_names() -> None:
    remembering = Remembering(Application(SAME.decode()))
    for number in range(2 * MOST):
        answers(remembering, headers=[(b"host", str(number).encode())])
        assert len(remembering._kept) <= MOST


def test_the_console_gives_a_files_answer_again_with_all_that_it_carries(serve: Serve) -> None:
    base = serve.until(r"listens on (http://\S+)\s")
    captain = Visitor(base)
    captain.post(serve.until(r"http://[^/\s]+(/setup/\S+)"), username="captain", password=PASSWORD, again=PASSWORD)
    url = base + assets.VersionedStorage(base_url="/static/").url("js/live.js")

    def told(**headers: str) -> dict[str, str]:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            assert answer.read() == Path("static/js/live.js").read_bytes()
            return {name: value for name, value in answer.headers.items() if name != "Date"}

    first = told(**captain.headers())
    assert first.keys() == told().keys()
    assert "immutable" in first["Cache-Control"]
    assert {"Content-Security-Policy", "X-Content-Type-Options", "Vary"} <= first.keys()
    assert "Set-Cookie" not in first
    assert eventually(lambda: told(**captain.headers()) == told()), "the nonce in it too: it is the same answer"
