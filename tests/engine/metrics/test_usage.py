"""What fills the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import Engine
from engine.config import Config
from engine.metrics.usage import tree_bytes

MIB = 2**20


def test_a_tree_is_its_allocated_blocks_with_hard_links_once(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "deep/er").mkdir(parents=True)
    empty = tree_bytes(top)
    (top / "deep/er/file").write_bytes(b"x" * MIB)
    os.link(top / "deep/er/file", top / "again")
    with open(top / "sparse", "wb") as sparse:
        sparse.truncate(100 * MIB)
    assert MIB <= tree_bytes(top) - empty < MIB + 64 * 1024
    assert tree_bytes(tmp_path / "nowhere") == 0


def test_no_link_is_followed_out_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(b"x" * MIB)
    (tmp_path / "top").mkdir()
    before = tree_bytes(tmp_path / "top")
    (tmp_path / "top/link").symlink_to(tmp_path / "outside")
    assert tree_bytes(tmp_path / "top") - before < 64 * 1024
    (tmp_path / "door").symlink_to(tmp_path / "outside")
    with pytest.raises(NotADirectoryError):
        tree_bytes(tmp_path / "door")


def test_a_tree_that_is_too_deep_ends_the_count_and_not_the_process(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    before = len(os.listdir("/proc/self/fd"))
    assert tree_bytes(tmp_path) > 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_each_volume_is_told_by_its_name(config: Config) -> None:
    with Engine(config) as engine:
        engine.create_volume("data")
        (engine.paths.volume("data") / "file").write_bytes(b"x" * MIB)
        engine.create_volume("empty")
        usage = engine.disk_usage()
    assert MIB <= usage.volumes["data"] < MIB + 64 * 1024
    assert usage.volumes["empty"] < 64 * 1024
    assert usage.own > 0
