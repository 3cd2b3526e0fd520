"""A disk that fills up: the log is never torn, what it cannot take stays in the pipe, and what is lost is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import ContainerSpec, Engine, ExitRecord
from engine.linux import mount
from engine.shim import stdio
from tests.conftest import eventually
from tests.images import busybox_rootfs

PAGE = 4096
PAGES = 64


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of 64 pages that nobody else can see, since it is attached nowhere."""
    root = mount.filesystem("tmpfs", [("size", str(PAGES * PAGE)), ("mode", "700")])
    try:
        yield Path(f"/proc/self/fd/{root}")
    finally:
        os.close(root)


def frames(directory: Path) -> tuple[list[bytes], list[int]]:
    """Payloads, and the lost lines of each segment's note; AssertionError for a torn frame."""
    payloads, lost = [], []
    for path in sorted(directory.iterdir()):
        if not path.name.isdigit():
            continue
        data = path.read_bytes()
        while data:
            magic, stream, _, _, length, _, _, last = stdio.FRAME.unpack_from(data)
            assert magic == stdio.MAGIC
            payload = data[stdio.FRAME.size : stdio.FRAME.size + length]
            assert len(payload) == length
            data = data[stdio.FRAME.size + length :]
            if stream == stdio.NOTE:
                lost.append(last)
            else:
                payloads.append(payload)
    return payloads, lost


def test_what_the_log_cannot_take_stays_in_the_pipe_and_goes_on(disk: Path) -> None:
    filler = disk / "filler"
    log = stdio.Log.begun(str(disk), 2**20, 3)
    read_end, both = stdio.open_pipe(0)
    filler.write_bytes(bytes((PAGES - 6) * PAGE))  # the root's and the segment's first page are taken too
    try:
        data = b"".join(b"line %d\n" % number for number in range(5000))[:40_000]
        os.write(both, data)
        assert not log.append(stdio.STDOUT, read_end, len(data))
        waiting = stdio.available(read_end)
        assert 0 < waiting < len(data)
        payloads, _ = frames(disk)
        assert b"".join(payloads) == data[: len(data) - waiting]
        assert not log.append(stdio.STDOUT, read_end, waiting), "still full"
        assert stdio.available(read_end) == waiting
        filler.unlink()
        assert log.append(stdio.STDOUT, read_end, stdio.available(read_end))
        assert b"".join(frames(disk)[0]) == data
    finally:
        log.close()
        os.close(read_end)
        os.close(both)


def test_older_segments_are_given_up_first_and_their_lines_counted(disk: Path) -> None:
    log = stdio.Log.begun(str(disk), 2 * PAGE, 40)
    read_end, both = stdio.open_pipe(0)
    try:
        for number in range(4000):
            line = b"%099d\n" % number
            os.write(both, line)
            assert log.append(stdio.STDOUT, read_end, len(line))
        payloads, lost = frames(disk)
        kept = [int(line) for line in b"".join(payloads).split(b"\n")[1:-1]]  # the first may have lost its beginning
        assert 500 < len(kept) < 4000
        assert kept == list(range(4000 - len(kept), 4000)), "the last, without a gap"
        assert 0 < lost[-1] <= kept[0]
    finally:
        log.close()
        os.close(read_end)
        os.close(both)


def test_a_container_on_a_full_disk_waits_and_then_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    engine.load_image(busybox_rootfs(tmp_path / "busybox.tar"), name="busybox")
    script = "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done; exit 6"
    container = engine.create(ContainerSpec(image="busybox", command=("sh", "-c", script)))
    logs = engine.paths.log(container.id)
    logs.rmdir()
    small = mount.filesystem("tmpfs", [("size", str(4 * 2**20)), ("mode", "700")])
    filler = Path(f"/proc/self/fd/{small}/filler")
    filler.write_bytes(bytes(4 * 2**20 - 20 * PAGE))
    logs.symlink_to(f"/proc/{os.getpid()}/fd/{small}")
    try:
        engine.start(container.id)
        messages = engine.config.run / "launcher.log"
        assert eventually(lambda: "disk is full" in messages.read_text())
        assert engine.inspect(container.id).state.value == "running", "the program waits in its write"
        filler.unlink()
        ended: ExitRecord = engine.wait(container.id, timeout_s=60)
        assert (ended.code, ended.reason) == (6, "")
        assert [line.text for line in engine.logs(container.id)] == [f"line {number}" for number in range(30000)]
    finally:
        os.close(small)
