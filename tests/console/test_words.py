"""What the pages say about facts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from console.endings import explain, short
from console.secret import read_or_make_key
from console.templatetags.events import event_detail
from console.templatetags.wharfie import happened, look, span
from engine import Container, ContainerSpec, EndedBy, Event, ExitRecord, Limits, State


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
    found = explain(container)
    assert found is not None
    assert words in found.said


def kill(signal: int, by: str, at_s: int) -> Event:
    return Event(1, at_s * 10**9, "container", "kill", "0" * 64, "web", {"signal": signal, "by": by})


def why(record: ExitRecord, *kills: Event, restarts: int = 0) -> str:
    container = dataclasses.replace(ended(0), exit=record, restarts=restarts)
    found = explain(container, kills)
    assert found is not None
    return " ".join([*found.why, str(found.act[1]) if found.act else ""])


def test_why_it_stopped_says_what_the_code_means_who_wanted_it_and_what_to_do() -> None:
    assert "was not found. Correct the command" in why(ExitRecord(127, None, False, 1, ended_by=EndedBy.ITSELF))
    assert "cannot be run" in why(ExitRecord(126, None, False, 1, ended_by=EndedBy.ITSELF))
    assert "it crashed. Read its last lines" in why(ExitRecord(139, 11, False, 1, ended_by=EndedBy.STRANGER))
    oom = ExitRecord(137, 9, True, 1, oom_limit_bytes=2**25, ended_by=EndedBy.OOM)
    assert "Give it more memory" in why(oom)
    assert "memory of this host ran out" in why(dataclasses.replace(oom, oom_limit_bytes=None))
    assert "Nobody asked Wharfie" in why(ExitRecord(137, 9, False, 1, ended_by=EndedBy.STRANGER))
    asked = ExitRecord(137, 9, False, 1, asked_signal=9, ended_by=EndedBy.ENGINE)
    told = why(asked, kill(9, "captain", 20), kill(15, "captain", 10))
    assert told == "captain asked for it, with SIGTERM. It had not heeded that after 10 s: it was killed. "
    assert "Somebody at the command line" in why(asked, kill(9, "", 20))
    failing = ExitRecord(1, None, False, 2 * 10**9, ended_by=EndedBy.ITSELF)
    assert "restart loop" in why(failing, restarts=5)
    assert "restart loop" not in why(failing, restarts=2)


def test_a_list_has_the_reason_in_a_few_words() -> None:
    assert short(ExitRecord(127, None, False, 1)) == "exit code 127: not found"
    assert short(ExitRecord(143, 15, False, 1, ended_by=EndedBy.ENGINE)) == "was stopped, exit code 143"
    assert short(ExitRecord(139, 11, False, 1)) == "SIGSEGV, exit code 139"


@pytest.mark.parametrize(("killed", "words"), [(1, "1 process in it was killed"), (2, "2 processes in it were killed")])
def test_memory_that_ran_out_is_an_event_in_words(killed: int, words: str) -> None:
    event = Event(1, 1, "container", "oom", "f" * 64, "web", {"killed": killed})
    assert (happened(event), event_detail(event)) == ("Container ran out of memory", words)


def test_a_span_takes_its_largest_unit() -> None:
    assert [span(s) for s in (1, 59, 60, 7200, 200_000)] == ["1 second", "59 seconds", "1 minute", "2 hours", "2 days"]


def test_the_secret_key_is_made_once_and_only_root_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret_key"
    key = read_or_make_key(path)
    assert len(key) >= 64
    assert read_or_make_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secret_key"]


def test_who_asked_for_a_signal_is_said_once() -> None:
    killed = ended(137, 9)
    assert killed.exit
    reason = "signal 9 was asked for; the disk was full, 7 bytes of output are lost"
    record = dataclasses.replace(killed.exit, reason=reason, asked_signal=9, ended_by=EndedBy.ENGINE)
    event = Event(1, 2, "container", "kill", killed.id, "web", {"signal": 9, "by": "captain"})
    found = explain(dataclasses.replace(killed, exit=record), [event])
    assert found is not None
    assert "asked for" not in found.said
    assert "7 bytes" in found.said
    assert "captain asked for it, with SIGKILL." in found.why


@pytest.mark.parametrize(
    ("argv", "spec", "alone"),
    [
        (("/bin/sh",), {}, True), (("bash",), {}, True), (("sh",), {"tty": True}, False),
        (("sh",), {"stdin": True}, False), (("sh", "-c", "true"), {}, False), (("/bin/true",), {}, False),
    ],
)  # fmt: skip
def test_a_shell_that_had_nothing_to_do_is_said_to_be_one(
    argv: tuple[str, ...], spec: dict[str, bool], alone: bool
) -> None:
    container = dataclasses.replace(ended(0), argv=argv, spec=ContainerSpec(image="x", **spec))  # type: ignore[arg-type]
    found = explain(container)
    assert found is not None
    assert any("neither a terminal nor" in words for words in found.why) is alone
