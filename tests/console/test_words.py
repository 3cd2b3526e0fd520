"""What the pages say about facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.secret import read_or_make_key
from console.templatetags.wharfie import ending, look, span
from engine import Container, ContainerSpec, ExitRecord, Limits, State


def ended(code: int | None, signal: int | None = None, *, oom: bool = False, memory: int | None = None) -> Container:
    spec = ContainerSpec(image="x", limits=Limits(memory_bytes=memory))
    record = ExitRecord(code, signal, oom, 1)
    return Container("0" * 64, "web", "x", "y", State.EXITED, 1, 1, None, record, spec, ("sh",), 524288)


@pytest.mark.parametrize(
    ("container", "shown", "words"),
    [
        (ended(0), "exited", "It ended by itself, without an error."),
        (ended(3), "failed", "It ended by itself with exit code 3."),
        (ended(143, 15), "exited", "Signal SIGTERM ended it; exit code 143."),
        (ended(139, 11), "failed", "Signal SIGSEGV ended it; exit code 139."),
        (ended(139), "failed", "It ended with exit code 139, as after signal SIGSEGV."),
        (ended(137, 9, oom=True, memory=2**25), "failed", "out of memory at its limit of 32 MiB."),
        (ended(None), "failed", "nobody could learn its exit code"),
    ],
)
def test_an_end_is_explained_in_words(container: Container, shown: str, words: str) -> None:
    assert look(container) == shown
    assert words in ending(container)


def test_a_span_takes_its_largest_unit() -> None:
    assert [span(s) for s in (1, 59, 60, 7200, 200_000)] == ["1 second", "59 seconds", "1 minute", "2 hours", "2 days"]


def test_the_secret_key_is_made_once_and_only_root_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret_key"
    key = read_or_make_key(path)
    assert len(key) >= 64
    assert read_or_make_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secret_key"]
