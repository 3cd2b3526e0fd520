"""Pages of a log: forwards, backwards and searched, they are the lines that were written, each once and in order."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

from engine import Config, ContainerSpec, Engine, LogPages, LogPattern, LogPlace, LogRow, Wanted, errors
from engine.containers.logindex import Indexes
from engine.shim.stdio import FRAME, MAGIC
from engine.storage.paths import Paths

ID = "f" * 64
EVERYTHING = Wanted()
NAMES = {1: "stdout", 2: "stderr"}


class Log:
    """A log as the shim writes it, and what its lines are."""

    def __init__(self, config: Config) -> None:
        paths = Paths(config)
        self.directory: Path = paths.log(ID)
        self.directory.mkdir(parents=True)
        self.pages = LogPages(paths, ID, Indexes())
        self.lines: list[tuple[int, str, bytes]] = []
        self.heads = {1: b"", 2: b""}
        self.rotated = 0
        self.now = 1000
        self.number = 0
        self.segment()

    def segment(self) -> None:
        self.number += 1
        self.previous = 0
        self._write(FRAME.pack(MAGIC, 0, 0, 0, 0, 1, self.now, self.rotated))

    def frame(self, stream: int, payload: bytes) -> None:
        self.now += 10
        self._write(FRAME.pack(MAGIC, stream, 0, 0, len(payload), self.previous, self.now, 0) + payload)
        self.previous = len(payload)
        *ends, self.heads[stream] = (self.heads[stream] + payload).split(b"\n")
        self.lines += [(self.now, NAMES[stream], line) for line in ends]

    def _write(self, data: bytes) -> None:
        with open(self.directory / f"{self.number:010d}", "ab") as file:
            file.write(data)


@pytest.fixture
def log(config: Config) -> Log:
    return Log(config)


def written(log: Log, seed: int) -> None:
    """Lines that end in their frame or later, on both streams, over several segments."""
    dice = random.Random(seed)
    for _ in range(300):
        words = [
            dice.choice([b"ship", b"Harbour", b"\xc3\xa9", b"\x1b[31mred\x1b[0m", b""])
            for _ in range(dice.randint(0, 5))
        ]
        payload = b"".join(word + dice.choice([b"\n", b"\n", b"-", b"\r\n"]) for word in words)
        if payload:
            log.frame(dice.choice([1, 1, 1, 2]), payload)
        if dice.random() < 0.05:
            log.segment()


def plain(rows: list[LogRow]) -> list[tuple[int, str, bytes]]:
    return [row[1:] for row in rows]


def all_back(log: Log, count: int, wanted: Wanted = EVERYTHING, **more: float) -> list[LogRow]:
    page = log.pages.before(None, count, wanted, **more)  # type: ignore[arg-type]
    rows = page.rows
    while page.more:
        page = log.pages.before(page.first, count, wanted, **more)  # type: ignore[arg-type]
        rows = page.rows + rows
    return rows


def all_on(log: Log, count: int, wanted: Wanted = EVERYTHING, **more: float) -> list[LogRow]:
    page = log.pages.after(None, count, wanted, **more)  # type: ignore[arg-type]
    rows = page.rows
    while page.more:
        page = log.pages.after(page.last, count, wanted, **more)  # type: ignore[arg-type]
        rows += page.rows
    return rows


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [1, 7, 10_000])
def test_pages_are_the_log_in_both_directions(log: Log, seed: int, count: int) -> None:
    written(log, seed)
    back, on = all_back(log, count), all_on(log, count)
    assert plain(on) == log.lines
    assert back == on, "places too"
    assert [row.place for row in on] == sorted({row.place for row in on})


@pytest.mark.parametrize("seed", range(4))
def test_lines_are_counted_to_every_place(log: Log, seed: int) -> None:
    written(log, seed)
    on = all_on(log, 10_000)
    assert [log.pages.lines_before(row.place) for row in on] == list(range(1, len(on) + 1))
    assert [log.pages.lines_between(on[9].place, row.place) for row in on[9:]] == list(range(len(on) - 9))


@pytest.mark.parametrize("seed", range(4))
def test_every_place_divides_the_log_in_two(log: Log, seed: int) -> None:
    written(log, seed)
    rows = all_on(log, 10_000)
    for number, row in enumerate(rows):
        place = LogPlace.parse(str(row.place))
        assert log.pages.before(place, 3).rows == rows[max(0, number - 3) : number]
        assert log.pages.after(place, 3).rows == rows[number + 1 : number + 4]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit_s", [0.0, 60.0])
@pytest.mark.parametrize("pattern", ["harbour", "^red", "p-?$", r"\Aship\z", "é", "nothing of this"])
@pytest.mark.parametrize("inverse", [False, True])
def test_a_search_finds_the_lines_in_both_directions_however_often_it_runs_out_of_time(
    log: Log, seed: int, limit_s: float, pattern: str, inverse: bool
) -> None:
    written(log, seed)
    like = re.compile(pattern.replace(r"\z", r"\Z"), re.IGNORECASE)

    def seen(line: bytes) -> str:
        return re.sub("\x1b\\[[0-9;]*m", "", line.decode("utf-8", "replace")).removesuffix("\r")

    expected = [line for line in log.lines if bool(like.search(seen(line[2]))) != inverse]
    wanted = Wanted(pattern=LogPattern(pattern, regex=True), inverse=inverse)
    assert plain(all_on(log, 5, wanted, limit_s=limit_s)) == expected
    assert plain(all_back(log, 5, wanted, limit_s=limit_s)) == expected


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_and_a_time_are_chosen(log: Log, seed: int) -> None:
    written(log, seed)
    since, until = log.lines[20][0], log.lines[-20][0]
    wanted = Wanted(stream="stderr", since_ns=since, until_ns=until)
    expected = [line for line in log.lines if line[1] == "stderr" and since <= line[0] <= until]
    assert plain(all_on(log, 3, wanted)) == expected
    assert plain(all_back(log, 3, wanted)) == expected


def test_the_last_line_without_an_end_is_one_once_it_has_ended(log: Log) -> None:
    log.frame(1, b"one\ntwo")
    log.frame(2, b"err")
    assert [row.text for row in log.pages.before(None, 9).rows] == [b"one"]
    assert [row.text for row in log.pages.before(None, 9, ended=True).rows] == [b"one", b"two", b"err"]
    assert log.pages.after(log.pages.before(None, 9, ended=True).last, 9, ended=True).rows == [], "not twice"
    follower = log.pages.after(None, 9)
    assert [row.text for row in log.pages.after(follower.last, 9, ended=True).rows] == [b"two", b"err"]
    page = log.pages.after(None, 9, ended=True)
    assert [row.text for row in page.rows] == [b"one", b"two", b"err"]
    assert log.pages.after(page.last, 9, ended=True).rows == []
    log.segment()
    log.frame(1, b"of the next run\n")
    assert [row.text for row in log.pages.after(page.last, 9).rows] == [b"of the next run"]


def test_what_a_container_writes_is_never_taken_for_a_header(log: Log) -> None:
    forged = FRAME.pack(MAGIC, 2, 0, 0, 7, 0, 1, 0) + b"forged\n"
    log.frame(1, b"a\n" + forged + b"b\n")
    inside = LogPlace(1, FRAME.size * 2 + 2, -1)
    for ask in (log.pages.before, log.pages.after):
        with pytest.raises(errors.NotFound):
            ask(inside, 5)
    with pytest.raises(errors.InvalidRequest):
        LogPlace.parse("1.2.../../etc")


def test_who_comes_back_to_what_was_rotated_away_is_told(log: Log) -> None:
    log.frame(1, b"one\n")
    place = log.pages.after(None, 9).last
    log.rotated = 1
    log.segment()
    log.frame(1, b"two\n")
    (log.directory / "0000000001").unlink()
    page = log.pages.after(place, 9)
    assert ([row.text for row in page.rows], page.lost) == ([b"two"], True)
    assert log.pages.lines_before(place) is None
    assert log.pages.before(place, 9).rows == []


def test_a_hostile_pattern_takes_no_longer_than_a_tame_one(log: Log) -> None:
    for _ in range(20):
        log.frame(1, b"a" * 50_000 + b"\n")
    for pattern in ("(a+)+$b", "(a|a)*b", "(a*)*b", "(.*)(.*)(.*)(.*)(.*)b"):
        began = time.monotonic()
        assert all_back(log, 5, Wanted(pattern=LogPattern(pattern, regex=True))) == []
        assert time.monotonic() - began < 5
    for pattern in ("(", "((a{100}){100}){100}", "x" * 501, r"(a)\1"):
        with pytest.raises(errors.InvalidRequest):
            LogPattern(pattern, regex=True)


def test_a_text_is_no_expression(log: Log) -> None:
    log.frame(1, b"a.c\nabc\n")
    assert [row.text for row in all_on(log, 9, Wanted(pattern=LogPattern("A.C", regex=False)))] == [b"a.c"]


def test_a_running_container_is_read_page_by_page(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "seq 1 30000; echo e >&2; sleep 1000")))
    dock.start(container.id)
    assert next(line for line in dock.logs(container.id, follow=True) if line.stream == "stderr")
    pages = dock.log_pages(container.id)
    page = pages.before(None, 101, Wanted(stream="stdout"))
    assert [int(row.text) for row in page.rows] == list(range(29_900, 30_001))
    assert [int(row.text) for row in pages.before(page.first, 100).rows] == list(range(29_800, 29_900))
    dock.remove(container.id, force=True)
    assert pages.before(None, 5).rows == []
