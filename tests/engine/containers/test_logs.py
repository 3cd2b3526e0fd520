"""Logs: every line is kept, or counted as lost to rotation."""

from __future__ import annotations

import time
from itertools import islice

import pytest

from engine import Config, ContainerSpec, Engine, LogLine, LogTail, State, VolumeMount
from engine.containers.logs import MAX_LINE_BYTES
from engine.shim.stdio import FRAME
from engine.storage.paths import Paths
from tests.conftest import eventually

pytestmark = pytest.mark.one_engine

SEGMENT = 65_536


class Gate:
    """A volume in which a container finds a file when it shall go on."""

    def __init__(self, dock: Engine) -> None:
        dock.create_volume("gate")
        self._directory = dock.paths.volume("gate")
        self.mount = (VolumeMount("gate", "/gate", read_only=True),)

    def open(self) -> None:
        (self._directory / "open").touch()


@pytest.fixture
def gate(dock: Engine) -> Gate:
    return Gate(dock)


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
    assert lines[0].lost + len(lines) == total, "every line is there or counted"
    assert not any(line.lost for line in lines[1:])
    # The oldest line that is left may have lost its beginning with the segment before; all others are whole.
    assert str(lines[0].lost + 1).endswith(lines[0].text)
    assert [int(line.text) for line in lines[1:]] == list(range(lines[0].lost + 2, total + 1))


def test_a_reader_that_rotation_overtakes_is_told_how_many_lines_it_missed(dock: Engine, gate: Gate) -> None:
    script = "seq 1 100; until [ -e /gate/open ]; do sleep 0.01; done; seq 101 60000"
    rotated = ContainerSpec(
        image="busybox", command=("sh", "-c", script), volumes=gate.mount, log_segment_bytes=SEGMENT, log_segments=3
    )
    container = dock.create(rotated)
    dock.start(container.id)
    tail = dock.log_tail(container.id)
    seen: list[LogLine] = []

    def read() -> bool:
        seen.extend(tail.read())
        return len(seen) == 100

    assert eventually(read)
    gate.open()
    assert dock.wait(container.id, timeout_s=60).code == 0
    while not tail.finished:
        seen += tail.read()
    tail.close()
    assert [int(line.text) for line in seen[:100]] == list(range(1, 101))
    missed = sum(line.lost for line in seen)
    assert missed > 0
    assert missed + len(seen) == 60_000
    assert int(seen[-1].text) == 60_000


@pytest.mark.parametrize("wanted", [0, 1, 10, 5000])
def test_the_tail_is_the_last_lines(dock: Engine, wanted: int) -> None:
    container = ended(dock, "seq 1 3000")
    lines = [int(line.text) for line in dock.logs(container, tail=wanted)]
    assert lines == list(range(1, 3001))[-wanted:] if wanted else lines == []


def test_lines_are_seen_while_it_runs_and_following_ends_with_it(dock: Engine, gate: Gate) -> None:
    script = "echo first; until [ -e /gate/open ]; do sleep 0.01; done; echo last"
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script), volumes=gate.mount))
    dock.start(container.id)
    seen = []
    for line in dock.logs(container.id, follow=True):
        seen.append(line.text)
        if line.text == "first":
            assert dock.inspect(container.id).state is State.RUNNING
            gate.open()
    assert seen == ["first", "last"]
    assert dock.inspect(container.id).exit is not None


def test_following_reads_what_is_there_without_waiting_for_more(dock: Engine) -> None:
    """A read is bounded; what it leaves must not wait for the log to grow, which it may never do again."""
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "seq 1 30000; sleep 1000")))
    dock.start(container.id)
    lines = dock.logs(container.id, follow=True)
    began = time.monotonic()
    assert [int(next(lines).text) for _ in range(30_000)] == list(range(1, 30_001))
    lines.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 15, "thirty reads of a thousand lines, each a second, were too slow"


def test_lines_since_a_time_are_those_after_it(dock: Engine) -> None:
    container = ended(dock, "seq 1 3; usleep 20000; seq 4 6")
    times = {int(line.text): line.time_ns for line in dock.logs(container)}
    assert [int(line.text) for line in dock.logs(container, since_ns=times[4])] == [4, 5, 6]
    assert list(dock.logs(container, follow=True, since_ns=times[6] + 1)) == []


def test_the_lines_of_each_stream_are_in_order_and_dated_in_order(dock: Engine) -> None:
    container = ended(dock, "i=0; while [ $i -lt 3000 ]; do echo $i; echo $i >&2; i=$((i+1)); done")
    lines = list(dock.logs(container))
    for stream in ("stdout", "stderr"):
        assert [int(line.text) for line in lines if line.stream == stream] == list(range(3000))
    assert [line.time_ns for line in lines] == sorted(line.time_ns for line in lines)


def test_what_is_no_text_is_shown_harmlessly(dock: Engine) -> None:
    container = ended(dock, r"printf 'a\000b\n\377\376\n\033[31mred\n\n'")
    assert [line.text for line in dock.logs(container)] == ["a\0b", "\ufffd\ufffd", "\x1b[31mred", ""]


def test_a_line_without_end_comes_in_pieces_and_whole(dock: Engine) -> None:
    container = ended(dock, "head -c 5000000 /dev/zero; printf end >&2")
    lines = list(dock.logs(container))
    assert "".join(line.text for line in lines if line.stream == "stdout") == "\0" * 5_000_000
    assert max(len(line.text) for line in lines) <= MAX_LINE_BYTES
    assert [line.text for line in lines if line.stream == "stderr"] == ["end"]


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


def test_reading_a_flood_without_following_it_ends(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("yes",), log_segment_bytes=SEGMENT, log_segments=3))
    dock.start(container.id)
    next(dock.logs(container.id, follow=True))
    enough = 500_000  # three segments hold 100,000 lines
    assert sum(1 for _ in islice(dock.logs(container.id), enough)) < enough
    assert dock.inspect(container.id).state is State.RUNNING, "it ended because that was all, not because it was over"
    dock.stop(container.id, timeout_s=0)


def test_a_few_lines_of_a_flood_that_is_not_followed_are_a_few(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("yes",)))
    dock.start(container.id)
    next(dock.logs(container.id, follow=True))
    assert [len(list(islice(dock.logs(container.id, tail=3), 100))) for _ in range(5)] == [3] * 5
    dock.stop(container.id, timeout_s=0)


def test_a_frame_that_is_finished_while_it_is_read_is_not_skipped(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer ends a frame and begins the next segment between the reader's look at the one and at the other."""
    paths = Paths(config)
    directory = paths.log("f" * 64)
    directory.mkdir(parents=True)

    def frame(text: bytes) -> bytes:
        return FRAME.pack(b"WLOG", 1, 0, 0, len(text), 0, 0, 0) + text

    first, second = directory / "0000000001", directory / "0000000002"
    first.write_bytes(frame(b"one\n") + frame(b"two\n")[:-2])
    reader = LogTail(paths, "f" * 64)
    look = reader._segments

    def go_on() -> list[int]:
        first.write_bytes(frame(b"one\n") + frame(b"two\n"))
        second.write_bytes(frame(b"three\n"))
        return look()

    assert [line.text for line in reader.read(1)] == ["one"]
    monkeypatch.setattr(reader, "_segments", go_on)
    assert [line.text for line in reader.read()] == ["two", "three"]
    reader.close()


def test_what_was_written_comes_out_byte_by_byte(dock: Engine) -> None:
    loop = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"
    script = f"printf 'a\\000b\\377\\n'; {loop}; printf err >&2; printf end"
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script)))
    dock.start(container.id)
    assert dock.wait(container.id, timeout_s=30).code == 0
    found = list(dock.log_bytes(container.id))
    out = b"".join(data for stream, _, data in found if stream == "stdout")
    assert out == b"a\0b\xff\n" + b"".join(b"line %d\n" % i for i in range(20000)) + b"end"
    assert b"".join(data for stream, _, data in found if stream == "stderr") == b"err"
    times = [time_ns for _, time_ns, _ in found]
    assert times == sorted(times)
