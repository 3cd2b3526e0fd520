"""Who reads and who feeds end together, whoever fails first."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from engine.archives.feed import feed

CHUNK = bytes(2**20)


def everything(stream: int) -> int:
    size = 0
    while data := os.read(stream, 2**16):
        size += len(data)
    return size


def test_an_answer_to_all_that_was_fed() -> None:
    assert feed(everything, [CHUNK] * 3) == (3 * 2**20, True)


def test_a_reader_that_has_enough_stops_the_feeder() -> None:
    assert feed(lambda stream: len(os.read(stream, 1)), iter(lambda: CHUNK, b"")) == (1, False)


def test_a_reader_that_fails_says_why() -> None:
    with pytest.raises(ZeroDivisionError):
        feed(lambda _stream: 1 // 0, iter(lambda: CHUNK, b""))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, BrokenPipeError])
def test_a_source_that_breaks_off_is_no_end_of_the_stream(kind: type[BaseException]) -> None:
    read = []

    def chunks() -> Iterator[bytes]:
        yield CHUNK
        raise kind

    with pytest.raises(kind):
        feed(lambda stream: read.append(everything(stream)), chunks())
    assert read == [2**20], "and the reader has come to its end"
