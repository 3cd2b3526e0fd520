"""Static files: sent once, and asked for again only after an update."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from console import assets
from console.fileserver import FileServer
from engine import Engine
from tests.console.serving import PASSWORD, Serve, Visitor


def test_without_its_version_a_file_is_asked_for_again(client: Client) -> None:
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
        path, _mark, query = url.partition("?")
        assert "immutable" in answer(FileServer(Django()), path=path, query_string=query.encode())[1]["Cache-Control"]


class Django:
    """What stands behind the file server; counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def answer(application: Any, headers: dict[str, str] | None = None, **scope: Any) -> tuple[int, dict[str, str], bytes]:
    """What a browser is sent."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    version = assets.asset("js/live.js").version  # type: ignore[union-attr]
    usual = {"method": "GET", "path": "/static/js/live.js", "query_string": f"v={version}".encode()}
    told = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    asyncio.run(application(usual | {"headers": told} | scope, None, send))
    start, body = sent
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"]


def test_a_file_under_its_version_needs_no_django_and_is_the_same_for_everybody() -> None:
    django = Django()
    files = FileServer(django)
    plain = Path("static/js/live.js").read_bytes()
    status, headers, body = answer(
        files, {"host": "one", "cookie": "session=captain", "authorization": "Bearer captain"}
    )
    assert (status, body) == (200, plain)
    assert answer(files, {"host": "two"}) == answer(files) == (status, headers, body)
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "javascript" in headers["Content-Type"]
    zipped = answer(files, {"Accept-Encoding": "br, gzip"})
    assert (zipped[1]["Content-Encoding"], gzip.decompress(zipped[2])) == ("gzip", plain)
    assert zipped[1]["Content-Length"] == str(len(zipped[2]))
    assert answer(files, {"if-none-match": headers["ETag"]})[::2] == (304, b"")
    assert answer(files, {"if-none-match": 'W/"older"'})[0] == 200
    head = answer(files, method="HEAD")
    assert (head[0], head[1]["Content-Length"], head[2]) == (200, str(len(plain)), b"")
    assert django.asked == 0


@pytest.mark.parametrize(
    "scope",
    [
        {"method": "POST"}, {"path": "/jobs/"}, {"query_string": b""}, {"query_string": b"v=older"},
        {"path": "/static/none.js"}, {"path": "/static/js/./live.js"}, {"path": "/static/../static/js/live.js"},
        {"path": "/static/"}, {"path": "/static/js"}, {"path": "/static//etc/passwd"},
    ],
)  # fmt: skip
def test_anything_else_is_left_to_django(scope: dict[str, Any]) -> None:
    django = Django()
    files = FileServer(django)
    assert answer(files, **scope)[0] == 404
    assert django.asked == 1
    assert files._known == {}


def test_no_file_that_is_kept_brings_anybodys_cookie(serve: Serve) -> None:
    base = serve.until(r"listens on (http://\S+)\s")
    captain = Visitor(base)
    captain.post(serve.until(r"http://[^/\s]+(/setup/\S+)"), username="captain", password=PASSWORD, again=PASSWORD)
    url = base + assets.VersionedStorage(base_url="/static/").url("js/live.js")

    def told(headers: dict[str, str]) -> dict[str, str]:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            assert answer.read() == Path("static/js/live.js").read_bytes()
            return {name: value for name, value in answer.headers.items() if name != "Date"}

    first = told(captain.headers())
    assert first == told({})
    assert "Set-Cookie" not in first
    assert "immutable" in first["Cache-Control"]
