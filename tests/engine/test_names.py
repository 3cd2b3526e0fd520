"""Names, sizes and signals at the edge."""

from __future__ import annotations

import pytest

from engine import names
from engine.errors import InvalidRequest


@pytest.mark.parametrize("text", ["web", "a1", "shop-api_2.x", "A" * 64])
def test_container_names_that_are_good(text: str) -> None:
    assert names.container_name(text) == text


@pytest.mark.parametrize(
    "text", ["", "a", "-web", ".x", "a b", "a/b", "../x", "é1", "a" * 65, "web\n", "a;rm", "f" * 64, "$(id)", "a\0b"]
)
def test_container_names_that_are_not(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        names.container_name(text)
    assert caught.value.hint
    assert caught.value.field == "name"


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("debian", "debian:latest"),
        ("debian:12", "debian:12"),
        ("host:5000/team/app:1.0", "host:5000/team/app:1.0"),
        ("wharfie/starter", "wharfie/starter:latest"),
        ("a__b/c-d.e:T_1", "a__b/c-d.e:T_1"),
    ],
)
def test_references_are_written_out(text: str, full: str) -> None:
    assert names.image_reference(text) == full


@pytest.mark.parametrize(
    "text", ["", ":", "A/B", "a/", "/a", "a//b", "localhost/../x", "a:b:c d", "x:" + "t" * 129, "ü", "a\n"]
)
def test_references_that_are_not(text: str) -> None:
    with pytest.raises(InvalidRequest):
        names.image_reference(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512m", 512 << 20),
        ("1.5 GiB", 3 << 29),
        ("2g", 2 << 30),
        ("64KB", 65536),
        ("7b", 7),
        (4096, 4096),
        ("1T", 1 << 40),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert names.size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1e3", "0x10", "1,5g", "9" * 30, "12 parsecs"])
def test_sizes_that_are_not(text: str) -> None:
    with pytest.raises(InvalidRequest):
        names.size_bytes(text, "memory")


@pytest.mark.parametrize(
    ("text", "number"), [("TERM", 15), ("sigkill", 9), (15, 15), ("64", 64), ("RTMIN+3", 37), ("HUP", 1)]
)
def test_signals(text: str | int, number: int) -> None:
    assert names.signal_number(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "NOPE", "TERM+1", "SIG_DFL", "RTMIN+99", "٣"])
def test_signals_that_are_not(text: str) -> None:
    with pytest.raises(InvalidRequest):
        names.signal_number(text)


def test_the_last_value_of_a_variable_wins() -> None:
    assert names.environment(["A=1", "B=x=y", "A=2", "C="]) == ("B=x=y", "A=2", "C=")


@pytest.mark.parametrize("line", ["", "A", "=x", "A=\0"])
def test_variables_that_are_not(line: str) -> None:
    with pytest.raises(InvalidRequest):
        names.environment([line])


@pytest.mark.parametrize(("text", "fault"), [("echo 'a", "a quote is not closed"), ("echo \\", "a backslash")])
def test_words_that_do_not_end_are_said_in_our_words(text: str, fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault) as caught:
        names.words(text, "command")
    assert caught.value.field == "command"
