"""Static files: sent once, and asked for again only after an update."""

from __future__ import annotations

import json
import re

import pytest
from django.test import Client

from console import assets
from engine import Engine


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
