"""An unpacker whose target lies among host files that must never change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.archives import separate
from tests.engine.archives.tars import END, snapshot

Unpack = Callable[..., dict[str, Any]]


class Target:
    """A directory to unpack into, and its surroundings."""

    def __init__(self, top: Path) -> None:
        self.host = top / "host"
        self.host.mkdir()
        (self.host / "victim").write_text("untouched")
        (self.host / "directory").mkdir()
        (self.host / "directory" / "inner").write_text("untouched")
        self.path = top / "target"
        self.path.mkdir(mode=0o755)

    def unpack(self, archive: bytes, *, end: bytes = END, **request: Any) -> dict[str, Any]:
        """Unpack one archive, its end marker added."""
        stream = os.memfd_create("archive")
        target = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.write(stream, archive + end)
            os.lseek(stream, 0, os.SEEK_SET)
            return separate.unpack({"max_bytes": 2**24} | request, [stream, target])
        finally:
            os.close(stream)
            os.close(target)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    made = Target(tmp_path)
    before = snapshot(made.host)
    yield made
    assert snapshot(made.host) == before, "an archive changed files of the host"
    assert not any(str(tmp_path) in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
