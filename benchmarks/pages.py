"""What the console's pages cost, asked for over HTTP by somebody who is signed in."""

from __future__ import annotations

import re
import time
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

from benchmarks import dock
from benchmarks.rows import Row, of_times
from engine import ContainerSpec, Engine

COUNTS = (100, 1000)
TURNS = 100
SHOWN = 50  # a page
RESTED = 2  # turns that warm caches
PASSWORD = "a long and quiet harbour"


def list_page() -> list[Row]:
    """A page of the list of containers that run, by name and by CPU; fifty of them are on it, however many run."""
    rows = []
    with dock.engine() as engine:
        for count in COUNTS:
            _grow(engine, count)
            with dock.console(engine) as (_pid, link):
                browser, address = _signed_up(link)
                for order in ("created", "cpu"):
                    times = [_timed(browser, f"{address}/containers/?order={order}") for _ in range(TURNS + RESTED)]
                    rows.append(of_times(f"list-page-{order}-of-{count}", times[RESTED:]))
            for database in engine.config.root.glob("console.db*"):
                database.unlink()  # so that the next console has a link again
    return rows


def _grow(engine: Engine, count: int) -> None:
    for _ in range(count - len(engine.running())):
        engine.start(engine.create(ContainerSpec(image="busybox", command=("sleep", "100000"))).id)


def _signed_up(link: str) -> tuple[OpenerDirector, str]:
    """A browser of whoever followed the link, and the console's address."""
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    form = browser.open(link).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    if token is None:
        raise AssertionError("the link leads to no form")
    fields = {"username": "captain", "password": PASSWORD, "again": PASSWORD, "csrfmiddlewaretoken": token[1]}
    browser.open(link, urlencode(fields).encode()).read()
    return browser, link.partition("/setup/")[0]


def _timed(browser: OpenerDirector, address: str) -> float:
    began = time.perf_counter()
    page = browser.open(address).read().decode()
    took = time.perf_counter() - began
    if page.count("<tr data-id=") != SHOWN:
        raise AssertionError(f"the page does not show {SHOWN} containers")
    return took
