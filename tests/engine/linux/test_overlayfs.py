"""An overlay over idmapped layers, made in every way that this kernel takes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.linux import helper, overlayfs, process
from engine.linux.overlayfs import Way
from tests import disk, leaks

BASE = 524_288
WAYS = (overlayfs.attached,) if overlayfs.way() is overlayfs.attached else (overlayfs.detached, overlayfs.attached)
AWKWARD = "a,comma:colon back\\slash 'quote'"


@pytest.fixture(params=WAYS, ids=lambda way: str(way.__name__))
def way(request: pytest.FixtureRequest) -> Way:
    made: Way = request.param
    return made


@pytest.fixture
def userns() -> Iterator[int]:
    """A user namespace whose ids begin at BASE on the host."""
    # A program of its own: whoever runs tests has threads, and a child made by clone3(2) would wait for one of them.
    with subprocess.Popen(["unshare", "--user", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"x")
        child.stdin.flush()
        assert child.stdout.read(1) == b"x", "it is there"
        process.write_id_maps(child.pid, BASE)
        namespace = os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        yield namespace
        os.close(namespace)
        child.stdin.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory where WHARFIE_ROOT may lie, with a name that an option string would have to escape."""
    made = Path(disk.place(), f"{leaks.NAME}{leaks.session()}-{os.getpid()}-{AWKWARD}", "x" * 250)
    made.mkdir(parents=True)
    yield made
    shutil.rmtree(made.parent)


def stack(place: Path, count: int) -> tuple[list[str], str, str]:
    """That many layers, each with a file of its own and with the same one; an upper and a work directory."""
    layers = [place / f"layer{number}" for number in range(count)]
    for number, layer in enumerate(layers):
        layer.mkdir()
        (layer / f"of {number}").touch()
        (layer / "same").write_text(str(number))
    for name in ("upper", "work"):
        (place / name).mkdir()
    return [str(layer) for layer in layers], str(place / "upper"), str(place / "work")


def read(name: str, directory: int) -> str:
    with open(os.open(name, os.O_RDONLY, dir_fd=directory)) as file:
        return file.read()


@pytest.mark.parametrize("count", [1, 2, 45, 500])
def test_layers_lie_in_order_with_the_ids_of_the_container(way: Way, userns: int, place: Path, count: int) -> None:
    overlay = way(*stack(place, count), userns)
    try:
        assert read("same", overlay) == str(count - 1), "the last layer is the highest"
        for number in range(count):
            status = os.stat(f"of {number}", dir_fd=overlay)
            assert (status.st_uid, status.st_gid) == (BASE, BASE)
    finally:
        os.close(overlay)


def test_what_is_written_goes_to_the_upper_directory(way: Way, userns: int, place: Path) -> None:
    layers, upper, work = stack(place, 3)
    overlay = way(layers, upper, work, userns)
    try:
        os.close(os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=overlay))
        os.unlink("same", dir_fd=overlay)
    finally:
        os.close(overlay)
    assert sorted(os.listdir(upper)) == ["new", "same"]
    assert (Path(layers[2]) / "same").read_text() == "2"


def test_nothing_of_it_is_attached_where_it_was_made(way: Way, userns: int, place: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text(), os.getcwd(), len(os.listdir("/proc/self/fd"))
    overlay = way(*stack(place, 3), userns)
    after = Path("/proc/self/mountinfo").read_text(), os.getcwd(), len(os.listdir("/proc/self/fd"))
    os.close(overlay)
    assert after == (before[0], before[1], before[2] + 1)


@pytest.mark.parametrize("missing", ["layer1", "upper", "work"])
def test_what_is_missing_is_named(way: Way, userns: int, place: Path, missing: str) -> None:
    layers, upper, work = stack(place, 3)
    shutil.rmtree(place / missing)
    opened = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError) as caught:
        way(layers, upper, work, userns)
    assert caught.value.filename == str(place / missing)
    assert len(os.listdir("/proc/self/fd")) == opened


def test_the_way_is_the_first_that_works(userns: int, place: Path) -> None:
    def works() -> bool:
        try:
            os.close(overlayfs.detached(*stack(place, 2), userns))
        except OSError:
            return False
        return True

    assert overlayfs.way() is (overlayfs.detached if works() else overlayfs.attached)


def test_a_helper_that_is_killed_is_an_error() -> None:
    with pytest.raises(ChildProcessError, match="was killed"):
        helper.descriptor(lambda: os.kill(os.getpid(), signal.SIGKILL) or 0)
