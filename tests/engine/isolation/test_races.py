"""Names that are swapped while the engine walks them, and the host never notices; terminals in test_terminals.py."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path

import pytest

from engine import Container, ContainerSpec, Engine, EngineError, ExecSpec, VolumeMount
from engine.linux import files, places
from engine.storage import atomic
from engine.storage.trash import Trash
from tests.conftest import wait_readable
from tests.engine.isolation.conftest import SECRET
from tests.engine.isolation.racer import racing
from tests.soak import amount

pytestmark = pytest.mark.one_engine

TRIES = amount(50, 500, least=3)


@pytest.fixture
def runs(dock: Engine) -> Container:
    """A container that waits, and whose files are in reach through its root."""
    made = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    return dock.start(made.id)


def root(container: Container) -> Path:
    return Path(f"/proc/{container.pid}/root")


def attempt(dock: Engine, container: Container, *command: str, **options: object) -> tuple[int, bytes]:
    """One further command: its exit code and output, or that of its refusal."""
    try:
        with dock.exec(container.id, ExecSpec(command, stdin=False, **options)) as execution:  # type: ignore[arg-type]
            code, shown, _ = execution.output(timeout_s=30)
            return code, shown
    except EngineError as error:
        return error.exit_code, b""


@pytest.mark.parametrize("below", ["", "/made/anew"])
def test_a_mount_target_in_a_shared_volume(dock: Engine, victim: Path, below: str) -> None:
    """CVE-2021-30465, CVE-2024-45310: one container swaps what another mounts on, or makes directories in.

    A mount of the host's tree would be in the first process's own namespace, gone from it when it changes its root: so
    the container itself says where its volume is. A link leads to a place of that name in the container.
    """
    for name in ("shared", "inner"):
        dock.create_volume(name)
    shared = dock.paths.volume("shared")
    (shared / "place").mkdir()
    (shared / "link").symlink_to(victim)
    volumes = (VolumeMount("shared", "/shared"), VolumeMount("inner", f"/shared/place{below}"))
    command = ("cat", "/proc/self/mountinfo")
    container = dock.create(ContainerSpec(image="busybox", command=command, volumes=volumes))
    # What is mounted on keeps its mount under whatever name it has by now.
    places = {f"{top}{below}" for top in ("/shared/place", "/shared/link", victim)}
    started, refused = 0, set()
    with racing(shared, "place", "link"):
        for _ in range(TRIES):
            try:
                dock.start(container.id)
            except EngineError as error:
                refused.add(error.exit_code)
                continue
            started += 1
            assert dock.wait(container.id, timeout_s=30).code == 0
            lines = [line.text.split() for line in dock.logs(container.id)]
            last = lines[max(number for number, fields in enumerate(lines) if fields[4] == "/") :]
            (inner,) = [fields[4] for fields in last if "/inner" in fields[3]]
            assert inner in places
    assert started, "some were quick enough"
    assert refused <= {125}


def test_a_working_directory_that_becomes_a_link(dock: Engine, runs: Container, victim: Path) -> None:
    """CVE-2024-21626, CVE-2026-55686."""
    (root(runs) / "d").mkdir()
    (root(runs) / "l").symlink_to("/proc/self/fd/7")
    with racing(root(runs), "d", "l"):
        for _ in range(TRIES):
            code, shown = attempt(
                dock, runs, "sh", "-c", "pwd; cat ../../../../../..$0", f"{victim}/secret", workdir="/d"
            )
            assert SECRET.encode() not in shown
            assert code in (1, 125)
            assert not shown or shown.startswith(b"/")


def test_a_program_that_becomes_the_engine(dock: Engine, runs: Container, victim: Path) -> None:
    """CVE-2019-5736: /proc/self/exe of a process that has not executed yet is the host's interpreter."""
    interpreter = Path(sys.executable).resolve()
    before = hashlib.sha256(interpreter.read_bytes()).digest()
    (root(runs) / "program").symlink_to("/bin/busybox")
    (root(runs) / "link").symlink_to("/proc/self/exe")
    with racing(root(runs), "program", "link"):
        for _ in range(TRIES):
            code, shown = attempt(dock, runs, "/program", "--help")
            assert b"ython" not in shown
            assert code in (0, 1, 125, 126, 127)
    assert hashlib.sha256(interpreter.read_bytes()).digest() == before


def test_nobody_inside_opens_the_program_that_enters(dock: Engine, runs: Container) -> None:
    """CVE-2019-5736, CVE-2016-9962: whoever enters is looked at through /proc while it does so."""
    script = (
        "while true; do for p in /proc/[0-9]*; do"
        ' l=$(busybox readlink $p/exe 2>/dev/null) && [ "$l" != /bin/busybox ] && echo "$l"; done; done'
    )
    assert attempt(dock, runs, "busybox", "cp", "/bin/busybox", "/opt/sleep")[0] == 0
    with dock.exec(runs.id, ExecSpec(("sh", "-c", script), stdin=False)) as watcher:
        for _ in range(4 * TRIES):
            assert attempt(dock, runs, "true")[0] == 0
        with dock.exec(runs.id, ExecSpec(("/opt/sleep", "100"), stdin=False)):
            assert wait_readable(watcher.stdout, timeout_s=30), "it does look"
            assert set(os.read(watcher.stdout, 65536).split()) == {b"/opt/sleep"}, "and was shown nothing before"


@pytest.mark.parametrize("other", ["/proc/self/environ", "fifo"])
def test_a_table_of_users_that_becomes_something_else(dock: Engine, runs: Container, other: str) -> None:
    """It is the image's word; but never the engine's own files, and nothing that blocks."""
    etc = root(runs) / "etc"
    if other == "fifo":
        os.mkfifo(etc / "other")
    else:
        (etc / "other").symlink_to(other)
    with racing(etc, "passwd", "other"):
        for _ in range(TRIES):
            code, shown = attempt(dock, runs, "stat", "-c", "%u", "/proc/self/", user="crew")
            assert (code, shown) in ((0, b"1000\n"), (125, b""))


def test_a_place_that_is_swapped_while_it_is_looked_up(tmp_path: Path, victim: Path) -> None:
    """`engine.linux.places` and `files.directory_beneath` themselves, without a namespace to save them."""
    top = tmp_path / "root"
    (top / "a" / "b").mkdir(parents=True)
    (top / "link").symlink_to(victim)
    root_fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
    found = 0
    try:
        with racing(top, "a", "link"):
            for number in range(4 * TRIES):
                for look in (
                    lambda: places.place(root_fd, f"/a/b/new-{number}", directory=True),  # noqa: B023
                    lambda: places.place(root_fd, f"/a/file-{number}", directory=False),  # noqa: B023
                    lambda: files.directory_beneath(root_fd, f"a/below-{number}/c"),  # noqa: B023
                ):
                    with contextlib.suppress(OSError):
                        os.close(look())
                        found += 1
    finally:
        os.close(root_fd)
    assert found, "some were quick enough"


def test_a_tree_that_is_swapped_while_it_is_deleted(tmp_path: Path, victim: Path) -> None:
    """`engine.storage.atomic`: what is removed is what was there, and never what a link in it leads to."""
    trash = tmp_path / "trash"
    trash.mkdir()
    swaps = 0
    for number in range(TRIES):
        tree = tmp_path / f"tree-{number}"
        (tree / "d").mkdir(parents=True)
        for name in range(20):
            (tree / "d" / str(name)).mkdir()
        (tree / "l").symlink_to(victim)
        with racing(tree, "d", "l", at_least=0) as race, contextlib.suppress(OSError):
            atomic.discard(tree, trash)
        swaps += race.swaps
    assert swaps, "some while it was being deleted"
    left = Trash(trash)
    left.empty()
    left.close()
    assert os.listdir(trash) == []
