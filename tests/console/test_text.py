"""What text for people must not contain, and how it is written."""

from __future__ import annotations

import pytest

from console import gateway, text
from engine.errors import InvalidRequest


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\rb\x07\x00c\td", "abc\td"),
        ("\x9b31mx", "31mx"),
        ("safe\u202egnp.exe", "safegnp.exe"),
        ("<b>ü 中</b>", "<b>ü 中</b>"),
    ],
)
def test_a_log_line_can_steer_nothing(raw: str, shown: str) -> None:
    assert text.clean(raw) == shown


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (50 * 2**20, "50 MiB"), (2**50, "1024 TiB")],
)
def test_sizes_are_in_units_of_1024(count: int | None, words: str) -> None:
    assert text.size(count) == words


def test_lines_skip_empty_ones_and_comments() -> None:
    assert text.lines("a\r\n\n # b\n  c ") == ["a", "c"]


@pytest.mark.parametrize(
    ("message", "hint", "said"),
    [
        ("it fails", "try again", "It fails. Try again."),
        ("it fails.", "", "It fails."),
        ("'x' is no path", "begin it with /, without ..", "'x' is no path. Begin it with /, without .."),
    ],
)
def test_an_error_is_read_as_sentences(message: str, hint: str, said: str) -> None:
    assert gateway.sentences(InvalidRequest(message, hint=hint)) == said
