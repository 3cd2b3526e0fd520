"""The log's tab: what its page and its files hold, and what of a container's output never gets through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import AsyncClient, Client

from console import ansi, gateway
from console.accounts.models import User
from engine import Container, ContainerSpec, Image
from tests.images import small_starter

NASTY = [
    "\x1b]0;title\x07", "\x1b]8;;http://evil/\x07link\x1b]8;;\x07", "\x1b]52;c;aGFybQ==\x07",
    "\x1b]1337;File=:AA==\x07",
    "\x1bP$qm\x1b\\", "\x1bP1$r0m\x1b\\", "\x1b[21t", "\x1b[6n", "\x1b[c", "\x1b[2J", "\x1b[?1049h", "\x1bc", "\x9b31m",
    "\x9d0;x\x9c", "\a" * 50, "\u202eevil", "\u2066x", "\x1b_apc\x1b\\", "\x1b^pm\x1b\\", "\x1bX sos\x1b\\",
    "\b\b\b", "\r",
    "\x1b[38;5m", "\x1b[38;2;999;999m", "\x1b[;;;;m", "\x1b[" + "1;" * 5000 + "m", "\x1b[31",
]  # fmt: skip


@pytest.mark.parametrize("nasty", NASTY)
def test_of_what_steers_a_terminal_only_colours_are_left(nasty: str) -> None:
    parts = ansi.runs(f"before{nasty}\x1b[1;31mred\x1b[0mafter")
    text = "".join(part for part, _classes in parts)
    assert not [character for character in text if character < " " or "\x7f" <= character <= "\x9f"]
    assert not set("\u202e\u2066") & set(text)
    assert all(set(classes.split()) <= {"bold", "f1", "f0", "b1"} for _part, classes in parts)
    assert parts[-1][0].endswith("after")


def test_colours_of_every_kind_are_one_of_eight() -> None:
    def look(codes: str) -> str:
        return ansi.runs(f"\x1b[{codes}mx")[0][1]

    assert [look(codes) for codes in ("31", "91", "38;5;1", "38;5;196", "38;2;255;10;10", "38:2:255:10:10")] == [
        "f1"
    ] * 6
    assert [look(codes) for codes in ("90", "38;5;240", "38;2;90;90;95")] == ["f0"] * 3
    assert [look(codes) for codes in ("37", "97", "39", "0", "")] == [""] * 5
    assert (look("1;44"), look("4;38;5;21"), look("42;49")) == ("bold b4", "under f4", "")
    assert sum(len(part) for part, _c in ansi.runs("\x1b[31m" + "x" * 100_000)) < 8200


def test_what_a_program_wrote_over_itself_is_gone() -> None:
    assert ansi.runs("progress 1%\rprogress 50%\rprogress 100%") == [("progress 100%", "")]
    assert ansi.runs("a line of Windows\r") == [("a line of Windows", "")]
    assert ansi.runs("\x1b[32m1%\r2%\r") == [("2%", "f2")], "the colour stays"


@pytest.fixture
def written(image: Image) -> Container:
    engine = gateway.engine()
    small_starter(engine)
    script = """seq 1 1000; echo '<img src=x onerror=alert(1)>' >&2
        printf '\\033[31mred\\033[0m\\n{"level":"warn"}\\nend'"""
    container = engine.create(ContainerSpec(image="wharfie/starter", name="sea", command=("sh", "-c", script)))
    engine.start(container.id)
    engine.wait(container.id, timeout_s=20)
    return container


def lines(page: Client, **query: Any) -> Any:
    return page.get("/containers/sea/logs/lines/", query).json()


@pytest.mark.django_db
def test_the_page_shows_the_end_and_goes_back_to_the_beginning(page: Client, written: Container) -> None:
    shown = page.get("/containers/sea/logs/").content.decode()
    assert "<span>end</span>" in shown
    assert '<i class="f1">red</i>' in shown
    assert "<span>1000</span>" in shown
    assert "<span>1</span>" not in shown
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown
    assert "<img src=x" not in shown
    found = lines(page, count=300, before=lines(page)["first"])
    numbers = [int(row[3]) for row in found["rows"] if row[2] == "o"]
    while found["more"]:
        found = lines(page, count=300, before=found["first"])
        numbers = [int(row[3]) for row in found["rows"]] + numbers
    assert numbers == list(range(1, numbers[-1] + 1))


@pytest.mark.django_db
def test_one_that_has_ended_without_a_word_is_not_said_to_have_yet_to_say_one(page: Client, image: Image) -> None:
    engine = gateway.engine()
    small_starter(engine)
    quiet = engine.create(ContainerSpec(image="wharfie/starter", name="quiet", command=("true",)))
    assert "Nothing was written yet." in page.get("/containers/quiet/logs/").content.decode()
    engine.start(quiet.id)
    engine.wait(quiet.id, timeout_s=20)
    assert "It has written nothing." in page.get("/containers/quiet/logs/").content.decode()


@pytest.mark.django_db
def test_a_line_has_an_address_that_shows_it_among_its_neighbours(page: Client, written: Container) -> None:
    [row] = lines(page, q="^500$", regex="1")["rows"]
    around = lines(page, line=row[0], count=20)["rows"]
    assert [int(each[3]) for each in around] == list(range(490, 510))
    assert f'<li id="{row[0]}" class="chosen">' in page.get("/containers/sea/logs/", {"line": row[0]}).content.decode()


@pytest.mark.django_db
def test_a_search_is_for_text_expressions_streams_and_their_opposite(page: Client, written: Container) -> None:
    def texts(**query: Any) -> list[str]:
        rows = lines(page, **query)["rows"]
        return [row[3] if isinstance(row[3], str) else "".join(part for part, _c in row[3]) for row in rows]

    assert texts(q="ONERROR=") == ["<img src=x onerror=alert(1)>"]
    assert texts(q="^red$", regex=1) == ["red"]
    assert texts(q="[0-9]", regex=1, inverse=1) == ["red", '{"level":"warn"}', "end"]
    assert texts(stream="stderr") == ["<img src=x onerror=alert(1)>"]
    assert texts(since="2001-01-01T00:00:00", until="2002-01-01T00:00:00") == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "status"),
    [({"q": "(", "regex": "1"}, 400), ({"since": "yesterday"}, 400),
     ({"since": "2002-01-01T00:00", "until": "2001-01-01T00:00"}, 400), ({"before": "x"}, 400),
     ({"before": "1.5.0"}, 404), ({"line": "-1.0.0"}, 404), ({"after": "1.99999999.0"}, 404)],
)  # fmt: skip
def test_what_cannot_be_asked_is_said(page: Client, written: Container, query: dict[str, str], status: int) -> None:
    assert page.get("/containers/sea/logs/", query).status_code == status
    answer = page.get("/containers/sea/logs/lines/", query)
    assert (answer.status_code, bool(answer.json()["error"])) == (status, True)


@pytest.mark.django_db
def test_a_wrong_expression_is_quoted_and_a_bound_is_a_time_that_a_browser_takes(
    page: Client, written: Container
) -> None:
    assert (
        "missing ) in \u201cline (\u201d."
        in page.get("/containers/sea/logs/", {"q": "line (", "regex": 1}).content.decode()
    )
    ends_first = {"since": "2002-01-01T00:00", "until": "2001-01-01T00:00"}
    refused = page.get("/containers/sea/logs/", ends_first).content.decode()
    assert refused.count("aria-invalid") == 1
    assert 'value="2001-01-01T00:00:00" aria-invalid="true"' in refused, "the bound, and not what is searched for"
    shown = page.get("/containers/sea/logs/", {"since": "1796018190000"}).content.decode()
    assert 'name="since" step="1" value="2026-11-30T' in shown


@pytest.mark.django_db(transaction=True)
async def test_the_file_is_what_was_written_or_what_was_searched(
    async_client: AsyncClient, user: User, written: Container
) -> None:
    await async_client.aforce_login(user)

    async def file(query: str) -> bytes:
        answer = await async_client.get(f"/containers/sea/logs/download/?{query}")
        assert answer["Content-Disposition"] == 'attachment; filename="sea.log"'
        return b"".join([part async for part in answer.streaming_content])

    whole = await file("stream=stdout")
    assert whole == b"".join(b"%d\n" % number for number in range(1, 1001)) + (
        b'\x1b[31mred\x1b[0m\n{"level":"warn"}\nend\n'
    )
    assert await file("q=99&stream=stdout") == b"".join(b"%d\n" % n for n in range(1, 1001) if "99" in str(n))
    stamped = await file("q=red&times=1")
    assert stamped.partition(b" ")[0].startswith(b"20")
    assert json.dumps(stamped.decode()).endswith('red\\u001b[0m\\n"')
