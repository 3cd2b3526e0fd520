"""Single files and directories of containers, whatever they are called and wherever they lead."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from engine import Caller, Container, ContainerSpec, Engine, EngineError, Role, Security, VolumeMount
from engine.errors import AlreadyExists, Busy, Denied, InvalidRequest, NotFound, WrongState
from tests.conftest import eventually

pytestmark = pytest.mark.one_engine

SENTINEL = b"nobody may read or change this\n"
NAMES = (b"line\nbreak", b"\x1b]0;title\x07", b"no-text-\xff\xfe", b"<script>alert(1)<script>", b"a b'\"&%2F", b"-rf")


@pytest.fixture(params=["running", "stopped"])
def box(dock: Engine, request: pytest.FixtureRequest) -> Container:
    """A container with a volume, that runs or has run."""
    dock.create_volume("data")
    made = dock.create(
        ContainerSpec(image="busybox", command=("sleep", "1000"), volumes=(VolumeMount("data", "/data"),))
    )
    dock.start(made.id)
    if request.param == "stopped":
        dock.stop(made.id, 0)
    return dock.inspect(made.id)


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    path = tmp_path / "sentinel"
    path.write_bytes(SENTINEL)
    return path


def put(dock: Engine, box: Container, path: str, data: bytes = b"text\n", **options: bool) -> None:
    dock.browse.upload(box.id, path, io.BytesIO(data), len(data), **options)


def read(dock: Engine, box: Container, path: str) -> bytes:
    return dock.browse.read(box.id, path, length=2**20).data


def names(dock: Engine, box: Container, path: str) -> list[str]:
    return [entry.name for entry in dock.browse.list(box.id, path).entries]


def streamed(dock: Engine, box: Container, path: str) -> bytes:
    with dock.browse.content(box.id, path, 1) as stream:
        return b"".join(iter(stream.read, b""))


def test_a_directory_is_told_in_pages_with_directories_first(dock: Engine, box: Container) -> None:
    for name in ("b", "a", "c"):
        put(dock, box, f"/data/{name}", name.encode() * 3)
    dock.browse.make_directory(box.id, "/data/z")
    page = dock.browse.list(box.id, "/data", first=1, count=2)
    assert ([entry.name for entry in page.entries], page.total) == (["a", "b"], 4)
    assert (page.entries[0].size, page.entries[0].uid, page.entries[0].mode) == (3, 0, stat.S_IFREG | 0o644)
    assert names(dock, box, "/data") == ["z", "a", "b", "c"]
    shell = next(entry for entry in dock.browse.list(box.id, "/bin").entries if entry.name == "sh")
    assert (shell.link, shell.leads_to_file) == ("busybox", True)


def test_names_are_whatever_bytes_they_are(dock: Engine, box: Container) -> None:
    wanted = {os.fsdecode(name) for name in NAMES}
    for name in wanted:
        put(dock, box, f"/data/{name}", name.encode(errors="surrogateescape"))
    assert set(names(dock, box, "/data")) == wanted
    for name in wanted:
        assert read(dock, box, f"/data/{name}") == name.encode(errors="surrogateescape")
        dock.browse.rename(box.id, f"/data/{name}", f"/data/{name}2")
        dock.browse.remove(box.id, f"/data/{name}2")
    assert names(dock, box, "/data") == []


def test_a_part_of_a_file_is_read_and_all_of_it_streams(dock: Engine, box: Container) -> None:
    data = os.urandom(300_000)
    put(dock, box, "/data/random", data)
    part = dock.browse.read(box.id, "/data/random", offset=1000, length=5000)
    assert (part.data, part.size, part.whole) == (data[1000:6000], 300_000, False)
    with dock.browse.content(box.id, "/data/random", 300_000) as stream:
        assert b"".join(iter(stream.read, b"")) == data
    with dock.browse.content(box.id, "/data/random", 300_001) as stream, pytest.raises(WrongState):
        list(iter(stream.read, b""))


def test_an_edited_file_keeps_owner_and_mode_and_is_never_half(dock: Engine, box: Container) -> None:
    put(dock, box, "/data/file", b"before")
    file = dock.paths.volume("data") / "file"
    os.chown(file, 7, 8)
    os.chmod(file, 0o4750)
    before = dock.browse.read(box.id, "/data/file", length=100)
    dock.browse.write(box.id, "/data/file", b"after", expected=before.digest)
    after = dock.browse.read(box.id, "/data/file", length=100)
    assert (after.data, after.uid, after.gid, stat.S_IMODE(after.mode)) == (b"after", 7, 8, 0o750)
    assert names(dock, box, "/data") == ["file"], "something was left behind"


def test_what_changed_meanwhile_is_not_overwritten(dock: Engine, box: Container) -> None:
    put(dock, box, "/data/file", b"seen")
    digest = hashlib.sha256(b"seen").hexdigest()
    put(dock, box, "/data/file", b"changed", replace=True)
    with pytest.raises(WrongState, match="changed meanwhile"):
        dock.browse.write(box.id, "/data/file", b"mine", expected=digest)
    assert read(dock, box, "/data/file") == b"changed"
    dock.browse.remove(box.id, "/data/file")
    with pytest.raises(WrongState):
        dock.browse.write(box.id, "/data/file", b"mine", expected=digest)
    assert names(dock, box, "/data") == []


def test_an_upload_is_whole_or_not_there_and_replaces_nothing_unasked(dock: Engine, box: Container) -> None:
    put(dock, box, "/data/file", b"first")
    with pytest.raises(AlreadyExists):
        put(dock, box, "/data/file", b"second")
    for size in (3, 100):  # longer than promised, and shorter
        with pytest.raises(InvalidRequest, match="whole"):
            dock.browse.upload(box.id, "/data/other", io.BytesIO(b"bytes"), size)
    assert names(dock, box, "/data") == ["file"]
    assert read(dock, box, "/data/file") == b"first"


def test_what_is_made_belongs_to_whom_its_directory_does(dock: Engine, box: Container) -> None:
    home = dock.paths.volume("data") / "home"
    home.mkdir()
    os.chown(home, 1000, 1001)
    put(dock, box, "/data/home/file")
    dock.browse.make_directory(box.id, "/data/home/new")
    assert {(entry.uid, entry.gid) for entry in dock.browse.list(box.id, "/data/home").entries} == {(1000, 1001)}


@pytest.mark.parametrize("target", ["{sentinel}", "../../../../../../../..{sentinel}", "/proc/self/root{sentinel}"])
def test_no_link_leads_out(dock: Engine, box: Container, sentinel: Path, target: str) -> None:
    link(dock, box, "/data/link", target.format(sentinel=sentinel))
    with pytest.raises((NotFound, InvalidRequest)):
        read(dock, box, "/data/link")
    with pytest.raises((NotFound, InvalidRequest)):
        dock.browse.list(box.id, "/data/link/..")
    with pytest.raises(EngineError):
        put(dock, box, "/data/link", b"overwritten", replace=True)
    dock.browse.rename(box.id, "/data/link", "/data/moved")
    dock.browse.remove(box.id, "/data/moved")
    assert (sentinel.read_bytes(), sentinel.stat().st_nlink) == (SENTINEL, 1)


def link(dock: Engine, box: Container, path: str, target: str) -> None:
    """Have the container hold a link."""
    volume = dock.paths.volume("data")
    (volume / path.removeprefix("/data/")).symlink_to(target)


def test_a_link_inside_is_followed_and_kept(dock: Engine, box: Container) -> None:
    put(dock, box, "/tmp/real", b"one")
    link(dock, box, "/data/link", "../tmp/real")
    part = dock.browse.read(box.id, "/data/link", length=10)
    dock.browse.write(box.id, "/data/link", b"two", expected=part.digest)
    assert read(dock, box, "/tmp/real") == b"two"
    assert dock.files.stat(box.id, "/data/link", follow=False).link == "../tmp/real"


def test_what_is_no_file_is_neither_opened_nor_replaced(dock: Engine, box: Container) -> None:
    volume = dock.paths.volume("data")
    os.mkfifo(volume / "fifo")
    os.mknod(volume / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(volume / "socket", stat.S_IFSOCK | 0o666)
    link(dock, box, "/data/loop", "loop")
    writer = threading.Thread(target=lambda: os.close(os.open(volume / "fifo", os.O_WRONLY)), daemon=True)
    writer.start()  # it would get through if anybody opened the FIFO for reading
    for name in ("fifo", "device", "socket", "loop"):
        began = time.monotonic()
        for act in (
            lambda path: read(dock, box, path),
            lambda path: put(dock, box, path, b"x", replace=True),
            lambda path: streamed(dock, box, path),
        ):
            with pytest.raises(InvalidRequest):
                act(f"/data/{name}")
        assert time.monotonic() - began < 20
    assert writer.is_alive(), "somebody opened the FIFO"
    assert len(dock.browse.list(box.id, "/data").entries) == 4
    for name in ("fifo", "device", "socket", "loop"):
        assert stat.S_IFMT(dock.files.stat(box.id, f"/data/{name}", follow=False).mode) == stat.S_IFMT(
            (volume / name).lstat().st_mode
        )
    os.close(os.open(volume / "fifo", os.O_RDONLY | os.O_NONBLOCK))
    writer.join(10)


@pytest.mark.parametrize("path", ["relative", "", "/x\0y", "/data/..", "/data/.", "/", "/" + "n" * 256])
def test_a_path_without_a_name_is_refused(dock: Engine, box: Container, path: str) -> None:
    for act in (dock.browse.make_directory, dock.browse.remove):
        with pytest.raises(InvalidRequest):
            act(box.id, path)
    with pytest.raises(InvalidRequest):
        put(dock, box, path)


def test_directories_go_with_all_in_them_but_nothing_that_is_mounted(dock: Engine, box: Container) -> None:
    dock.browse.make_directory(box.id, "/tmp/tree")
    for name in ("one", "two"):
        put(dock, box, f"/tmp/tree/{name}")
    dock.browse.rename(box.id, "/tmp/tree", "/tmp/other")
    dock.browse.remove(box.id, "/tmp/other")
    assert names(dock, box, "/tmp") == []
    put(dock, box, "/data/kept")
    with pytest.raises(InvalidRequest, match="mounted"):
        dock.browse.remove(box.id, "/data")
    assert read(dock, box, "/data/kept") == b"text\n"


def test_what_is_mounted_deep_in_a_directory_keeps_all_of_it(dock: Engine) -> None:
    dock.create_volume("deep")
    made = dock.create(ContainerSpec(image="busybox", volumes=(VolumeMount("deep", "/srv/a/b"),)))
    for path in ("/srv/a/b/kept", "/srv/kept"):
        put(dock, made, path)
    with pytest.raises(InvalidRequest, match="mounted"):
        dock.browse.remove(made.id, "/srv")
    assert [read(dock, made, path) for path in ("/srv/a/b/kept", "/srv/kept")] == [b"text\n"] * 2


def test_nothing_takes_the_place_of_something(dock: Engine, box: Container) -> None:
    for name in ("a", "b"):
        put(dock, box, f"/data/{name}", name.encode())
    with pytest.raises(AlreadyExists):
        dock.browse.rename(box.id, "/data/a", "/data/b")
    with pytest.raises(AlreadyExists):
        dock.browse.make_directory(box.id, "/data/a")
    with pytest.raises(InvalidRequest, match="copy it"):
        dock.browse.rename(box.id, "/data/a", "/tmp/a")
    assert [read(dock, box, f"/data/{name}") for name in ("a", "b")] == [b"a", b"b"]


def test_the_kernels_files_are_none(dock: Engine) -> None:
    made = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    dock.start(made.id)
    for act in (
        lambda: dock.browse.list(made.id, "/proc"),
        lambda: read(dock, made, "/proc/uptime"),
        lambda: put(dock, made, "/sys/kernel/x"),
        lambda: put(dock, made, "/proc/sys/kernel/core_pattern", replace=True),
    ):
        with pytest.raises(InvalidRequest, match="kernel's"):
            act()


def test_whoever_may_not_enter_may_not_look(dock: Engine) -> None:
    member = Caller(Role.MEMBER, "sailor")
    made = dock.create(ContainerSpec(image="busybox", security=Security(privileged=True)))
    data = io.BytesIO(b"")
    for act in (
        lambda: dock.browse.list(made.id, "/", caller=member),
        lambda: dock.browse.read(made.id, "/etc/passwd", length=1, caller=member),
        lambda: dock.browse.content(made.id, "/etc/passwd", 1, caller=member),
        lambda: dock.browse.write(made.id, "/etc/passwd", b"", expected="", caller=member),
        lambda: dock.browse.upload(made.id, "/x", data, 0, caller=member),
        lambda: dock.browse.make_directory(made.id, "/x", caller=member),
        lambda: dock.browse.rename(made.id, "/etc/passwd", "/x", caller=member),
        lambda: dock.browse.remove(made.id, "/etc/passwd", caller=member),
        lambda: dock.files.copy_out(made.id, "/etc", "x", caller=member),
        lambda: dock.files.copy_in(made.id, "/etc", data, caller=member),
        lambda: dock.files.export(made.id, caller=member),
        lambda: list(dock.files.changes(made.id, caller=member)),
    ):
        with pytest.raises(Denied, match="privileged"):
            act()


def test_a_swap_between_look_and_use_leads_nowhere(dock: Engine, sentinel: Path) -> None:
    """A container that exchanges a directory and a link to the host's without end, while its files are looked at."""
    dock.create_volume("data")
    ends = "while :; do mv d t; mv l d; mv d l; mv t d; done"
    swap = f"cd /data; mkdir d; echo own > d/sentinel; ln -s {sentinel.parent} l; alias mv='busybox mv'; {ends}"
    made = dock.create(
        ContainerSpec(image="busybox", command=("busybox", "sh", "-c", swap), volumes=(VolumeMount("data", "/data"),))
    )
    dock.start(made.id)
    eventually(lambda: (dock.paths.volume("data") / "d").exists())
    seen = set()
    for number in range(40):
        try:
            seen.add(read(dock, made, "/data/d/sentinel"))
            put(dock, made, f"/data/d/{number}", b"x")
        except (NotFound, InvalidRequest, Busy):
            continue
    assert seen <= {b"own\n"}
    assert sorted(path.name for path in sentinel.parent.iterdir() if path.name.isdigit()) == []
    assert sentinel.read_bytes() == SENTINEL


NEST = "cd {place}; n=0; while [ $n -lt 1500 ]; do busybox mkdir d && cd d && : >f || exit 1; n=$((n+1)); done"


def test_directories_nested_deeper_than_python_calls_are_removed_with_all_that_holds_them(dock: Engine) -> None:
    dock.create_volume("deep")
    nesting = f"({NEST.format(place='/data')}); ({NEST.format(place='/')})"  # in /data only the first time
    made = dock.create(
        ContainerSpec(image="busybox", command=("sh", "-c", nesting), volumes=(VolumeMount("deep", "/data"),))
    )
    for last in (False, True):
        dock.start(made.id)
        ended = dock.wait(made.id)
        assert ended is not None
        assert ended.code == 0
        assert ("d" in names(dock, made, "/data"), "d" in names(dock, made, "/")) == (True, True)
        if not last:
            dock.browse.remove(made.id, "/d")
            assert "d" not in names(dock, made, "/")
    dock.remove(made.id)
    dock.remove_volume("deep")
    assert eventually(lambda: not os.listdir(dock.paths.trash))


def test_a_file_that_cannot_be_saved_is_named_itself(dock: Engine) -> None:
    dock.create_volume("still")
    (dock.paths.volume("still") / "note").write_text("as it was")
    mount = (VolumeMount("still", "/data", read_only=True),)
    made = dock.start(dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"), volumes=mount)).id)
    with pytest.raises(InvalidRequest, match="read-only file system") as caught:
        dock.browse.write(made.id, "/data/note", b"other", expected=hashlib.sha256(b"as it was").hexdigest())
    assert "note" in caught.value.message
    assert ".wharfie" not in caught.value.message
    assert [path.name for path in dock.paths.volume("still").iterdir()] == ["note"]
