"""How much of a log is kept: so many bytes, of however many runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import ContainerSpec, Engine
from engine.shim import stdio

SEGMENT, SEGMENTS = 4096, 3


def runs(directory: Path, count: int, lines: int) -> None:
    """Short runs of one container, which write lines of ten bytes."""
    for _ in range(count):
        log = stdio.Log.begun(str(directory), SEGMENT, SEGMENTS)
        read_end, both = stdio.open_pipe(0)
        try:
            os.write(both, b"123456789\n" * lines)
            assert log.append(stdio.STDOUT, read_end, stdio.available(read_end))
        finally:
            log.close()
            os.close(read_end)
            os.close(both)


def told(directory: Path) -> tuple[int, int]:
    """Lines that are there, and those that are said to be lost."""
    paths = sorted(directory.iterdir())
    return sum(map(stdio.count_lines, map(str, paths))), stdio.FRAME.unpack(paths[-1].read_bytes()[:32])[7]


def test_short_runs_are_kept_until_they_are_as_much_as_full_segments(tmp_path: Path) -> None:
    runs(tmp_path, 40, 10)  # of 164 bytes each
    assert told(tmp_path) == (400, 0)
    runs(tmp_path, 20, 200)
    kept, lost = told(tmp_path)
    assert kept + lost == 4400
    held = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert SEGMENT * (SEGMENTS - 1) - 3000 < held <= SEGMENT * SEGMENTS
    runs(tmp_path, 1, 1000)
    assert sum(told(tmp_path)) == 5400
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= SEGMENT * SEGMENTS


def test_of_very_short_runs_the_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "MOST_SEGMENTS", 7)
    runs(tmp_path, 20, 1)
    assert told(tmp_path) == (7, 13)


def test_who_starts_it_again_takes_nothing_from_its_log(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "echo run; exec sleep 1000")))
    dock.start(container.id)
    for _ in range(5):
        dock.restart(container.id, 0)
    dock.stop(container.id, 0)
    assert [(line.text, line.lost) for line in dock.logs(container.id)] == [("run", 0)] * 6
