"""Logs: every line is kept, or counted as lost to rotation."""

from __future__ import annotations

import time

import pytest

from engine import ContainerSpec, Engine
from engine.shim.stdio import FRAME

SEGMENT = 65_536


def ended(dock: Engine, script: str, **options: int) -> str:
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script), **options))  # type: ignore[arg-type]
    dock.start(container.id)
    assert dock.wait(container.id, timeout_s=60).code == 0
    return container.id


def test_rotation_never_holds_more_than_promised_and_counts_what_it_drops(dock: Engine) -> None:
    total = 60_000
    container = ended(dock, f"seq 1 {total}", log_segment_bytes=SEGMENT, log_segments=3)
    segments = list(dock.paths.log(container).iterdir())
    assert len(segments) == 3
    assert all(segment.stat().st_size <= SEGMENT for segment in segments)
    lines = list(dock.logs(container))
    # The oldest line that is left may have lost its beginning with the segment before; all others are whole.
    numbers = [int(line.text) for line in lines[1:]]
    assert numbers == list(range(total - len(numbers) + 1, total + 1))
    assert lines[0].lost + len(lines) == pytest.approx(total, abs=1)
    assert not any(line.lost for line in lines[1:])


@pytest.mark.parametrize("wanted", [0, 1, 10, 5000])
def test_the_tail_is_the_last_lines(dock: Engine, wanted: int) -> None:
    container = ended(dock, "seq 1 3000")
    lines = [int(line.text) for line in dock.logs(container, tail=wanted)]
    assert lines == list(range(1, 3001))[-wanted:] if wanted else lines == []


def test_lines_are_seen_while_it_runs_and_following_ends_with_it(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "echo first; sleep 1; echo last")))
    dock.start(container.id)
    began = time.time_ns()
    seen = [(line.text, time.time_ns() - line.time_ns) for line in dock.logs(container.id, follow=True)]
    assert [text for text, _ in seen] == ["first", "last"]
    assert seen[0][1] < 900_000_000, "the first line came while the container slept"
    assert dock.inspect(container.id).exit is not None
    assert time.time_ns() > began


def test_what_is_no_text_is_shown_harmlessly(dock: Engine) -> None:
    container = ended(dock, r"printf 'a\000b\n\377\376\n\033[31mred\n\n'")
    assert [line.text for line in dock.logs(container)] == ["a\0b", "\ufffd\ufffd", "\x1b[31mred", ""]


def test_a_line_without_end_comes_in_pieces_and_whole(dock: Engine) -> None:
    container = ended(dock, "head -c 3000000 /dev/zero | tr '\\0' x 2>/dev/null || head -c 3000000 /dev/zero")
    text = "".join(line.text for line in dock.logs(container))
    assert len(text) == 3_000_000


def test_a_torn_last_frame_hides_nothing_before_it(dock: Engine) -> None:
    container = ended(dock, "seq 1 100")
    segment = max(dock.paths.log(container).iterdir())
    with open(segment, "ab") as file:
        file.write(FRAME.pack(b"WLOG", 1, 0, 0, 500, 0, 0, 0) + b"cut")
    assert [line.text for line in dock.logs(container)] == [str(number) for number in range(1, 101)]


def test_the_log_of_a_removed_container_ends(dock: Engine) -> None:
    container = ended(dock, "seq 1 10")
    tail = dock.log_tail(container)
    dock.remove(container)
    assert tail.read() == []
    assert tail.finished
    tail.close()


def test_the_tail_of_a_flood_is_there_at_once(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("yes",)))
    dock.start(container.id)
    next(dock.logs(container.id, follow=True))
    for _ in range(5):
        tail = dock.log_tail(container.id, tail=200)
        lines = tail.read(200)
        assert [line.text for line in lines] == ["y"] * len(lines)
        tail.close()
    assert len(lines) == 200
    dock.stop(container.id, timeout_s=0)
