"""Trees that whoever ran in a container has made: as deep and as wide as they like."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.linux import trees
from engine.linux.trees import Descent, remove_tree
from engine.storage import atomic

DEEP = 3000  # Python calls a thousand functions deep, and a process has a thousand descriptors


def nest(top: int, depth: int, *, file: bool = True) -> None:
    """Directories in each other, with a file in each."""
    descriptor = os.dup(top)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        if file:
            os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


@pytest.fixture
def top(tmp_path: Path) -> Iterator[int]:
    """A directory; it is removed with the tree of these tests, since pytest's own way goes no deeper than Python."""
    (tmp_path / "top").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    if os.path.lexists(tmp_path / "top"):
        remove_tree(descriptor, "top")
    os.close(descriptor)
    assert len(os.listdir("/proc/self/fd")) <= before  # others that are not needed any more may go meanwhile


def inside(top: int) -> int:
    return os.open("top", os.O_RDONLY | os.O_DIRECTORY, dir_fd=top)


def test_a_tree_deeper_than_python_calls_is_removed(top: int) -> None:
    within = inside(top)
    nest(within, DEEP)
    os.close(within)
    remove_tree(top, "top")
    assert os.listdir(top) == []


def test_what_cannot_be_removed_far_below_is_said_and_no_descriptor_is_left(
    top: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    within = inside(top)
    nest(within, 60)
    os.close(within)
    rmdir, calls = os.rmdir, []

    def failing(path: str, *, dir_fd: int) -> None:
        calls.append(path)
        if len(calls) == 50:
            raise PermissionError(1, "Operation not permitted", path)
        rmdir(path, dir_fd=dir_fd)

    monkeypatch.setattr(trees.os, "rmdir", failing)
    with pytest.raises(PermissionError):
        remove_tree(top, "top")
    monkeypatch.undo()
    assert len(calls) == 50


def test_a_tree_that_branches_far_below_is_removed(top: int, tmp_path: Path) -> None:
    for branches in ("ab", "cd"):  # two of them from the top
        place = tmp_path / "top"
        for level in range(2 * trees.KEPT):
            for name in branches if abs(level - trees.KEPT) < 4 else branches[0]:
                (place / name).mkdir(exist_ok=True)
                (place / name / "f").touch()
            place = place / branches[0]
    for number in range(3):
        shutil.copytree(tmp_path / "top/a", tmp_path / f"top/copy-{number}")
    remove_tree(top, "top")
    assert os.listdir(top) == []


def test_a_wide_tree_is_removed(top: int, tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / f"top/{number}").mkdir()
        (tmp_path / f"top/{number}/f").touch()
        (tmp_path / f"top/file {number}").touch()
    remove_tree(top, b"top")
    assert os.listdir(top) == []


def test_no_link_is_followed(top: int, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (tmp_path / "top/link").symlink_to(tmp_path / "outside")
    remove_tree(top, "top")
    assert os.listdir(top) == ["outside"]
    assert (tmp_path / "outside/file").exists()
    (tmp_path / "top").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="symbolic links"):
        remove_tree(top, "top")
    (tmp_path / "top").unlink()


def test_who_was_moved_elsewhere_meanwhile_leads_nowhere_else(top: int, tmp_path: Path) -> None:
    within = inside(top)
    nest(within, trees.KEPT + 2, file=False)
    os.close(within)
    with Descent(top, "top") as way:
        for _ in range(trees.KEPT + 2):
            way.down("d")
        (tmp_path / "elsewhere").mkdir()
        os.rename(tmp_path / "top/d/d", tmp_path / "elsewhere/d")  # the first of those that are open is two below
        for _ in range(trees.KEPT):
            way.up()
        with pytest.raises(OSError, match="moved while"):
            way.up()
    remove_tree(top, "elsewhere")


def test_a_link_or_a_file_in_the_trash_is_deleted_itself(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "file").touch()
    for name in ("link", "file", "none"):
        atomic.delete(tmp_path / name)
    assert os.listdir(tmp_path) == ["outside"]
