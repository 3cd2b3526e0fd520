"""Files into and out of containers, running or not."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import (
    Container,
    ContainerSpec,
    Engine,
    EngineError,
    RestartMode,
    RestartPolicy,
    Security,
    State,
    VolumeMount,
)
from engine.archives.tar import Entry, Kind
from engine.archives.write import Writer
from engine.containers import roots
from engine.errors import Busy, InvalidRequest, KernelError, NotFound, WrongState
from tests import leaks
from tests.conftest import eventually
from tests.engine.isolation.racer import racing
from tests.engine.killing import kill
from tests.soak import amount

pytestmark = pytest.mark.one_engine

TOP = Path(__file__).resolve().parents[3]
CAPABILITY = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)  # cap_net_bind_service+ep; linux/capability.h, v2


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


def members(engine: Engine, ref: str, path: str, name: str = "x", **options: bool) -> dict[str, tarfile.TarInfo]:
    """A copy that came out, by name."""
    return {member.name: member for member, _ in unpacked(engine, ref, path, name, **options)}


def unpacked(
    engine: Engine, ref: str, path: str, name: str = "x", **options: bool
) -> list[tuple[tarfile.TarInfo, bytes]]:
    with engine.files.copy_out(ref, path, name, **options) as stream:
        data = b"".join(iter(stream.read, b""))
    found = []
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            found.append((member, content.read() if content else b""))
    return found


def packed(**files: bytes) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.gid, info.mode = len(data), 7, 8, 0o640
            tar.addfile(info, io.BytesIO(data))
    out.seek(0)
    return out


def test_a_file_comes_out_as_it_is(dock: Engine, box: Container) -> None:
    ((member, data),) = unpacked(dock, box.id, "/etc/passwd", "copy")
    assert (member.name, member.uid, member.gid, member.mode) == ("copy", 0, 0, 0o644)
    assert data.startswith(b"root:x:0:0")


def test_a_file_goes_in_and_comes_out(dock: Engine, box: Container) -> None:
    for place in ("/tmp", "/data"):
        assert dock.files.copy_in(box.id, place, packed(name=b"text\n"))["entries"] == 1
        ((member, data),) = unpacked(dock, box.id, f"{place}/name", "y")
        assert (member.uid, member.gid, member.mode, data) == (7, 8, 0o640, b"text\n")


def made(*entries: tuple[Entry, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    writer = Writer(out.write)
    for entry, data in entries:
        writer.entry(entry)
        writer.data(data)
    writer.end()
    out.seek(0)
    return out


def entry(name: bytes, kind: Kind = Kind.FILE, data: bytes = b"", **fields: object) -> tuple[Entry, bytes]:
    values = {"mode": 0o644, "uid": 0, "gid": 0, "size": len(data), "mtime_ns": 10**18} | fields
    return Entry(name=name, kind=kind, **values), data  # type: ignore[arg-type]


def test_whatever_a_file_can_be_survives_both_ways(dock: Engine, box: Container) -> None:
    sent = [
        entry(b"all/", Kind.DIRECTORY, mode=0o1750, uid=5, gid=6),
        entry(b"all/line\nbreak", data=b"1"),
        entry(b"all/no-text-\xff\xfe", data=b"2", uid=65535),
        entry(b"all/" + b"n" * 200, data=b"3", mtime_ns=-5 * 10**9),
        entry(b"all/.wh.not-a-whiteout", data=b"4"),
        entry(b"all/setuid", data=b"5", mode=0o6755, xattrs={"security.capability": CAPABILITY, "user.a": b"\0b\n"}),
        entry(b"all/absolute", Kind.SYMLINK, link=b"/etc/passwd", mode=0o777),
        entry(b"all/out", Kind.SYMLINK, link=b"../../../../../etc/passwd", mode=0o777),
        entry(b"all/hard", Kind.HARDLINK, link=b"all/setuid"),
        entry(b"all/pipe", Kind.FIFO, mode=0o622),
    ]
    counts = dock.files.copy_in(box.id, "/tmp", made(*sent, entry(b"all/disk", Kind.BLOCK, device=(8, 0))))
    assert (counts["entries"], counts["skipped_devices"]) == (11, 1)
    back = unpacked(dock, box.id, "/tmp/all", "again")
    found = {member.name.removeprefix("again").encode(errors="surrogateescape"): member for member, _ in back}
    assert set(found) == {e.name.removeprefix(b"all").rstrip(b"/") for e, _ in sent}
    contents = {member.name.removeprefix("again/").encode(errors="surrogateescape"): data for member, data in back}
    first, second = sorted((b"hard", b"setuid"))  # names of one file: the first that comes has the data
    for sent_entry, data in sent[1:]:
        name = sent_entry.name.removeprefix(b"all/")
        member = found[b"/" + name]
        if name in (first, second):
            assert (member.mode, member.linkname) == (0o6755, "" if name == first else "again/hard")
        else:
            assert (member.mode, member.uid, member.type) == (sent_entry.mode, sent_entry.uid, sent_entry.kind.value)
            assert member.linkname.encode() == sent_entry.link
            assert contents[name] == data
        assert member.mtime == sent_entry.mtime_ns // 10**9 or name in (first, second)
    assert contents[first] == b"5"
    assert found[b""].mode == 0o1750
    attributes = found[b"/" + first].pax_headers
    assert attributes["SCHILY.xattr.user.a"] == "\0b\n"
    kept = attributes["SCHILY.xattr.security.capability"].encode("utf-8", "surrogateescape")
    assert kept == CAPABILITY


def test_owners_inside_are_the_containers(dock: Engine, box: Container) -> None:
    dock.files.copy_in(box.id, "/tmp", packed(mine=b"x"), owner=(0, 0))
    found = dock.files.stat(box.id, "/tmp/mine")
    assert (found.uid, found.gid, found.size) == (0, 0, 1)
    on_disk = (dock.paths.container(box.id) / "upper/tmp/mine").stat()
    assert (on_disk.st_uid, on_disk.st_gid) == (box.uid_base, box.uid_base)


def test_links_lead_nowhere_but_into_the_container(dock: Engine, box: Container, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("the host's")
    links = [
        entry(b"up", Kind.SYMLINK, link=b"../../../../../../.."),
        entry(b"root", Kind.SYMLINK, link=b"/"),
        entry(b"host", Kind.SYMLINK, link=os.fsencode(victim)),
        entry(b"self", Kind.SYMLINK, link=b"/proc/self/root"),
        entry(b"loop", Kind.SYMLINK, link=b"loop"),
    ]
    dock.files.copy_in(box.id, "/tmp", made(*links))
    for path in ("/tmp/up/etc/passwd", "/tmp/root/../../../etc/passwd", "/../../etc/passwd"):
        ((_, data),) = unpacked(dock, box.id, path)
        assert data.startswith(b"root:x:0:0")
        assert b"crew" in data
    for path in ("/tmp/host", f"/tmp/up/{victim}", f"/tmp/self{victim}", "/tmp/loop"):
        with pytest.raises((NotFound, InvalidRequest)):
            unpacked(dock, box.id, path, follow=True)
        with pytest.raises((NotFound, InvalidRequest)):
            dock.files.copy_in(box.id, path, packed(name=b"x"))
    with pytest.raises(InvalidRequest, match="symbolic link"):
        dock.files.copy_in(box.id, "/tmp", made(entry(b"root/planted", data=b"x")))
    for name in (b"../planted", b"/planted", b"a/../../planted"):
        with pytest.raises(InvalidRequest):
            dock.files.copy_in(box.id, "/tmp", made(entry(name, data=b"x")))
    assert victim.read_text() == "the host's"
    ((member, _),) = unpacked(dock, box.id, "/tmp/host")
    assert (member.type, member.linkname) == (tarfile.SYMTYPE, str(victim))


def test_what_is_there_is_not_replaced_by_another_kind(dock: Engine, box: Container) -> None:
    with pytest.raises(InvalidRequest, match="a directory, but a file"):
        dock.files.copy_in(box.id, "/", packed(tmp=b"x"))
    with pytest.raises(InvalidRequest, match="no directory, but one"):
        dock.files.copy_in(box.id, "/etc", made(entry(b"passwd", Kind.DIRECTORY)))
    dock.files.copy_in(box.id, "/", made(entry(b"tmp", Kind.DIRECTORY, mode=0o1777), entry(b"tmp/new", data=b"x")))
    assert dock.files.stat(box.id, "/tmp/new").size == 1


def test_nothing_comes_from_the_kernels_own_file_systems(dock: Engine, box: Container) -> None:
    if box.state is State.RUNNING:
        for path in ("/proc", "/proc/1/environ", "/sys/kernel", "/proc/self/root/etc/passwd"):
            with pytest.raises((InvalidRequest, NotFound)):
                unpacked(dock, box.id, path)
        with pytest.raises(InvalidRequest, match="the kernel's"):
            dock.files.copy_in(box.id, "/proc/sys/kernel", packed(hostname=b"x"))
        devices = members(dock, box.id, "/dev", "dev")
        assert devices["dev/null"].ischr()
    whole = members(dock, box.id, "/", "")
    assert {"etc/passwd", "proc", "sys", "bin/busybox"} <= set(whole)
    assert not [name for name in whole if name.startswith(("proc/", "sys/"))]


def test_paths_that_are_none_are_refused(dock: Engine, box: Container) -> None:
    for path in ("tmp", "", "/a\0b", "/" + "a" * 5000):
        with pytest.raises(InvalidRequest):
            dock.files.stat(box.id, path)
    with pytest.raises(NotFound):
        dock.files.stat(box.id, "/nowhere")
    with pytest.raises(NotFound):
        unpacked(dock, box.id, "/nowhere")
    with pytest.raises(InvalidRequest, match="not a directory"):
        dock.files.copy_in(box.id, "/etc/passwd", packed(name=b"x"))


def test_a_sparse_file_stays_sparse(dock: Engine, box: Container, tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.seek(200 * 2**20)
        file.write(b"end")
    with dock.files.pack(str(sparse), "sparse") as stream:
        dock.files.copy_in(box.id, "/tmp", stream)
    status = (dock.paths.container(box.id) / "upper/tmp/sparse").stat()
    assert status.st_size == 200 * 2**20 + 3
    assert status.st_blocks * 512 < 4 * 2**20


def test_sockets_are_left_out(dock: Engine, box: Container) -> None:
    place = dock.paths.container(box.id) / "upper/tmp/place"
    dock.files.copy_in(box.id, "/tmp", made(entry(b"place", Kind.DIRECTORY), entry(b"place/file", data=b"x")))
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(place, os.O_PATH)
        listener.bind(f"/proc/self/fd/{directory}/door")
        os.close(directory)
    with dock.files.copy_out(box.id, "/tmp/place", "x") as stream:
        data = b"".join(iter(stream.read, b""))
        assert stream.counts["sockets"] == 1
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["x", "x/file"]


def peak_kib(pid: int | str) -> int:
    """How much memory a process had at most, in KiB; proc_pid_status(5), VmHWM."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def descendants(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in children:
        yield int(child)
        yield from descendants(int(child))


def test_300_mb_need_little_memory(dock: Engine, box: Container, tmp_path: Path) -> None:
    size = 300 * 10**6
    block = os.urandom(2**20)
    big = tmp_path / "big"
    with big.open("wb") as file:
        while file.tell() < size:
            file.write(block)
    launcher = answering(str(dock.paths.launcher_socket))
    assert launcher
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    before = peak_kib("self")
    with dock.files.pack(str(big), "big") as stream:
        dock.files.copy_in(box.id, "/tmp", stream)
    digest, seen, peaks = hashlib.sha256(), 0, [0]
    with dock.files.copy_out(box.id, "/tmp/big", "big") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        member = tar.next()
        assert member
        content = tar.extractfile(member)
        assert content
        while data := content.read(2**20):
            digest.update(data)
            seen += len(data)
            if peaks == [0] and seen > size // 2:
                peaks = [peak_kib(pid) for pid in descendants(launcher) if os.path.exists(f"/proc/{pid}/exe")]
    assert peak_kib("self") - before < 20_000
    assert 0 < max(peaks) < 60_000
    assert digest.digest() == hashlib.sha256(big.read_bytes()).digest()


def copies(engine: Engine) -> list[int]:
    """Processes that copy now."""
    launcher = answering(str(engine.paths.launcher_socket))
    found = []
    for pid in descendants(launcher) if launcher else ():
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            name = Path(f"/proc/{pid}/comm").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "Seccomp:\t2" in lines and name.startswith("wharfie"):
            found.append(pid)
    return found


class Endless:
    """The beginning of an archive, whose rest does not come before it is allowed to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self._parts = [made(entry(b"half", data=bytes(10**6))).getvalue()[:500_000]]

    def read(self, _size: int, /) -> bytes:
        if self._parts:
            return self._parts.pop()
        self.begun.set()
        assert self.go_on.wait(30)
        return b""


@pytest.fixture
def big(dock: Engine) -> Iterator[Container]:
    """A running container with more data than any buffer takes."""
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    dock.start(container.id)
    dock.files.copy_in(container.id, "/tmp", packed(big=os.urandom(20 * 10**6)))
    yield container
    assert eventually(lambda: not copies(dock)), "a worker is left"


def test_a_copy_ends_with_its_container_and_leaves_nothing(dock: Engine, big: Container) -> None:
    pid = dock.inspect(big.id).pid
    assert pid
    with dock.files.copy_out(big.id, "/tmp/big", "big") as stream:
        assert stream.read(1)
        assert copies(dock)
        dock.kill(big.id)
        assert eventually(lambda: leaks.state(pid) in ("Z", "X", "")), "before the rest is read"
        with pytest.raises(WrongState, match="ended meanwhile"):
            list(iter(stream.read, b""))
    dock.wait(big.id, timeout_s=20)  # until its shim has said how, too
    endless, met = Endless(), []

    def feed() -> None:
        try:
            dock.files.copy_in(big.id, "/tmp", endless)
        except EngineError as error:
            met.append(error)

    dock.start(big.id)
    feeder = threading.Thread(target=feed)
    feeder.start()
    assert endless.begun.wait(30)
    assert eventually(lambda: copies(dock))
    dock.kill(big.id)
    assert dock.wait(big.id, 10).signal == 9
    assert eventually(lambda: not copies(dock))
    endless.go_on.set()
    feeder.join()
    assert isinstance(met[0], WrongState)
    names = os.listdir(dock.paths.container(big.id) / "upper/tmp")
    assert names == ["big"]
    dock.start(big.id)


def test_a_restart_by_policy_comes_after_the_copies_of_the_run_before(dock: Engine) -> None:
    spec = ContainerSpec(image="busybox", command=("sleep", "1000"), restart=RestartPolicy(RestartMode.ALWAYS))
    container = dock.create(spec)
    dock.start(container.id)
    dock.files.copy_in(container.id, "/tmp", packed(big=os.urandom(20 * 10**6)))
    for turn in range(3):
        pid = dock.inspect(container.id).pid
        assert pid
        with dock.files.copy_out(container.id, "/tmp/big", "big") as stream:
            assert stream.read(1)
            kill(pid)  # it has ended before the rest is read
            with pytest.raises(WrongState, match="ended meanwhile"):
                list(iter(stream.read, b""))
        assert eventually(lambda: dock.inspect(container.id).state is State.RUNNING)
        assert dock.inspect(container.id).restarts == turn + 1
    assert dock.files.stat(container.id, "/tmp/big").size == 20 * 10**6
    dock.stop(container.id, 0)


def test_a_copy_that_is_broken_off_leaves_nothing(dock: Engine, big: Container) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(TOP)!r})
from engine import Config, Engine
with Engine(Config(root={dock.config.root!r}, run={dock.config.run!r})) as engine, \\
     engine.files.copy_out({big.id!r}, "/tmp/big", "big") as stream:
    stream.read(1)
    print("begun", flush=True)
    sys.stdin.read()
""".replace("PosixPath(", "__import__('pathlib').Path(")
    for state in (State.RUNNING, State.EXITED):
        assert dock.inspect(big.id).state is state
        with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout
            assert child.stdout.readline() == b"begun\n"
            assert copies(dock)
            child.kill()
        assert eventually(lambda: not copies(dock))
        dock.stop(big.id, 0)
    dock.start(big.id)


def test_a_start_waits_for_no_copy(dock: Engine, big: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    dock.stop(big.id, 0)
    with dock.files.copy_out(big.id, "/tmp/big", "big") as stream:
        stream.read(1)
        monkeypatch.setattr(roots, "WAIT_S", 0.2)  # not before: the copy may wait for the shim's end
        for act in (lambda: dock.start(big.id), lambda: dock.remove(big.id), lambda: unpacked(dock, big.id, "/tmp")):
            with pytest.raises(Busy, match="being copied"):
                act()
    dock.start(big.id)


def test_a_full_disk_costs_no_file(dock: Engine, big: Container) -> None:
    dock.files.copy_in(big.id, "/dev/shm", packed(name=b"old"))
    with pytest.raises(KernelError) as caught:
        dock.files.copy_in(big.id, "/dev/shm", packed(name=bytes(range(256)) * (70 * 4096)))
    assert "No space left" in caught.value.message
    assert caught.value.hint
    assert [(member.name, data) for member, data in unpacked(dock, big.id, "/dev/shm", "x")][1:] == [("x/name", b"old")]


def test_what_is_mounted_read_only_stays_so(dock: Engine) -> None:
    dock.create_volume("kept")
    mount = (VolumeMount("kept", "/kept", read_only=True),)
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"), volumes=mount))
    for _ in range(2):
        with pytest.raises(EngineError, match=r"[Rr]ead-only"):
            dock.files.copy_in(container.id, "/kept", packed(name=b"x"))
        dock.start(container.id) if dock.inspect(container.id).state is State.CREATED else None
    with pytest.raises(EngineError, match="mounted there"):
        dock.files.copy_in(container.id, "/etc", packed(hosts=b"x"))


def test_a_paused_container_is_copied_from_and_stays_paused(dock: Engine, big: Container) -> None:
    dock.pause(big.id)
    dock.files.copy_in(big.id, "/tmp", packed(new=b"x"))
    assert unpacked(dock, big.id, "/tmp/new")[0][1] == b"x"
    assert dock.inspect(big.id).state is State.PAUSED


def test_a_racer_wins_nothing(dock: Engine) -> None:
    """A directory becomes a link to / and back while copies go through it."""
    box = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    dock.start(box.id)
    top = Path(f"/proc/{dock.inspect(box.id).pid}/root/r")
    (top / "real/etc").mkdir(parents=True)
    (top / "link").symlink_to("/")
    before = [Path(path).stat() for path in ("/etc", "/etc/passwd", "/")]
    passwd = Path("/etc/passwd").read_bytes()
    ends = set()
    turns = amount(50, 500)
    with racing(top, "real", "link", at_least=turns):
        for _ in range(turns):
            for act in (
                lambda: dock.files.copy_in(box.id, "/r/real/etc", packed(passwd=b"planted", turn=b"x")),
                lambda: dock.files.copy_in(box.id, "/r", made(entry(b"real/etc/passwd", data=b"planted"))),
                lambda: _check_ours(unpacked(dock, box.id, "/r/real/etc", "etc")),
            ):
                try:
                    act()
                    ends.add("done")
                except (NotFound, InvalidRequest, KernelError) as error:
                    ends.add(type(error).__name__)
    assert "done" in ends
    assert [Path(path).stat().st_ino for path in ("/etc", "/etc/passwd", "/")] == [each.st_ino for each in before]
    assert [Path(path).stat().st_mtime_ns for path in ("/etc", "/etc/passwd", "/")] == [e.st_mtime_ns for e in before]
    assert Path("/etc/passwd").read_bytes() == passwd


def _check_ours(found: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Whatever came out is the container's."""
    host = Path("/etc/passwd").read_bytes()
    assert all(data != host for _, data in found)


def test_export(dock: Engine, box: Container) -> None:
    with dock.files.export(box.id) as stream:
        data = b"".join(iter(stream.read, b""))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert {"bin/busybox", "etc/passwd", "proc", "sys", "dev", "data", "tmp"} <= set(names)
    assert not [name for name in names if name.startswith(("proc/", "sys/", "dev/", "data/"))]


def test_what_a_container_shares_and_mounts_later_is_not_in_a_copy(dock: Engine) -> None:
    """One that may mount may make its mounts shared too: a copy of them is private, or nobody could pivot into it."""
    mounting = (
        "/bin/busybox mkdir /late; /bin/busybox dd if=/dev/urandom of=/big bs=1M count=20 2>/dev/null;"
        " mount --make-rshared / && echo shared; read go; mount -t tmpfs none /late && echo mounted; sleep 1000"
    )
    may_mount = Security(cap_add=("SYS_ADMIN",))
    spec = ContainerSpec(image="busybox", command=("sh", "-c", mounting), stdin=True, security=may_mount)
    container = dock.create(spec)
    dock.start(container.id)

    def said(word: str) -> bool:
        return word in [line.text for line in dock.logs(container.id)]

    assert eventually(lambda: said("shared"))
    with dock.files.copy_out(container.id, "/big", "big") as stream:
        assert stream.read(1)
        (worker,) = copies(dock)
        typed = dock.input(container.id)
        os.write(typed, b"\n")
        os.close(typed)
        assert eventually(lambda: said("mounted")), list(dock.logs(container.id))
        mounts = Path(f"/proc/{worker}/mountinfo").read_text()
    assert " /etc/hosts " in mounts, "it sees the container's mounts"
    assert " /late " not in mounts
