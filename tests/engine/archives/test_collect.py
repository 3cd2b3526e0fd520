"""A tree that changes while it is packed: the archive is whole, and the counts say what happened."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from engine.archives.collect import Collector
from engine.archives.write import Writer
from engine.linux import files


def test_a_name_that_goes_before_it_is_written_is_no_target_of_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("content")
    for name in ("b", "c"):
        (tmp_path / name).hardlink_to(tmp_path / "a")
    real = files.openat2

    def openat2(parent: int, name: bytes, *arguments: Any, **options: Any) -> int:
        if name == b"a":
            (tmp_path / "a").unlink()
        return real(parent, name, *arguments, **options)

    monkeypatch.setattr(files, "openat2", openat2)
    sink = io.BytesIO()
    collector = Collector(Writer(sink.write))
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        collector.content(directory, b"")
    finally:
        os.close(directory)
    collector._writer.end()
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        assert [(each.name, each.isreg(), each.linkname) for each in archive] == [("b", True, ""), ("c", False, "b")]
    assert collector.counts() == {"entries": 2, "sockets": 0, "changed": 1}
