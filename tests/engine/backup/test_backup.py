"""A store in one file, and back: whole, exact, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine import Config, ContainerSpec, Engine, Namespaces, State, VolumeMount
from engine.backup import manifest
from engine.backup.purge import purge
from engine.backup.restore import restore
from engine.errors import AlreadyExists, Busy, Corrupt, EngineError
from engine.storage import instance
from engine.storage.paths import Paths
from tests.conftest import eventually, stop_launcher
from tests.engine.killing import kill, launcher
from tests.images import busybox_rootfs
from tests.leaks import instance_groups

TOP = Path(__file__).resolve().parents[3]
UNNAMED = 2**32 - 1


def named_user(number: int) -> bytes:
    """The entry of an access list that gives a user the right to read."""
    return struct.pack("<HHI", 2, 4, number)


ACL = struct.pack("<IHHI", 2, 1, 6, UNNAMED) + named_user(1000)
ACL += b"".join(struct.pack("<HHI", tag, rights, UNNAMED) for tag, rights in ((4, 4), (16, 4), (32, 0)))
FIELD_OF_SIZE = 124  # in a header of a tar
HOLE = 64 * 2**20

Away = Callable[[], Config]


def quiet(_text: str) -> None:
    """No progress."""


def saved(engine: Engine, **wanted: bool) -> bytes:
    out = io.BytesIO()
    engine.backup(out, **wanted)
    return out.getvalue()


@pytest.fixture
def away(config: Config) -> Iterator[Away]:
    """Other empty places to restore into."""
    made: list[Config] = []

    def make() -> Config:
        number = len(made)
        other = Config(
            config.root.with_name(f"{config.root.name}-b{number}"), config.run.with_name(f"{config.run.name}-b{number}")
        )
        made.append(other)
        return other

    yield make
    for other in made:
        stop_launcher(other)
        if Paths(other).instance.exists():
            instance.release(instance.instance_id(other))
        for directory in (other.root, other.run):
            shutil.rmtree(directory, ignore_errors=True)


def attributes_of(path: Path, base: int) -> dict[str, bytes]:
    """Without overlayfs's marks that name inodes; user ids as the container sees them."""
    names = os.listxattr(path, follow_symlinks=False)
    wanted = [name for name in names if not name.startswith("trusted.overlay.") or name == "trusted.overlay.opaque"]
    found = {name: os.getxattr(path, name, follow_symlinks=False) for name in wanted}
    if acl := found.get("system.posix_acl_access"):
        found["system.posix_acl_access"] = acl.replace(named_user(1000 + base), named_user(1000))
    if (capability := found.get("security.capability")) and len(capability) == 24:
        root = struct.unpack_from("<I", capability, 20)[0]
        found["security.capability"] = capability[:20] + struct.pack("<I", root - base)
    return found


def describe(top: Path, base: int) -> dict[str, object]:
    """All that can be asked of a tree, user ids as its container sees them."""
    found: dict[str, object] = {}
    inodes: dict[int, str] = {}
    for path in sorted([top, *top.rglob("*")]):
        facts = path.lstat()
        name = str(path.relative_to(top))
        content = b""
        if stat.S_ISREG(facts.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(facts.st_mode):
            content = os.fsencode(os.readlink(path))
        owner = (facts.st_uid - base, facts.st_gid - base)
        what = (facts.st_mode, *owner, facts.st_rdev, attributes_of(path, base), hash(content))
        if stat.S_ISCHR(facts.st_mode):
            found[name] = what
            continue
        full = facts.st_blocks * 512 > facts.st_size // 2 or facts.st_size < 2**20
        found[name] = (*what, facts.st_mtime_ns, full, inodes.setdefault(facts.st_ino, name))
    return found


def fill(top: Path, base: int) -> None:
    """One of each kind of thing that a container can have."""
    (top / "a" / "b").mkdir(parents=True)
    plain = top / "a" / "plain \udcff\n name"
    plain.write_bytes(b"content")
    os.link(plain, top / "a" / "b" / "second name")
    os.symlink("/etc/shadow", top / "link")
    os.mkfifo(top / "pipe", 0o640)
    os.mknod(top / "gone", stat.S_IFCHR, 0)
    os.link(top / "gone", top / "gone too")  # as overlayfs makes them
    with open(top / "sparse", "wb") as file:
        file.truncate(HOLE)
        for offset in (HOLE // 2, HOLE - 100):
            file.seek(offset)
            file.write(b"data")
    (top / "only a hole").touch()
    os.truncate(top / "only a hole", HOLE)
    (top / "program").write_bytes(b"#!")
    long = top / ("n" * 255) / ("m" * 255)
    long.mkdir(parents=True)
    (long / "deep").touch()
    for path in [top, *top.rglob("*")]:
        os.chown(path, base + 33, base + 44, follow_symlinks=False)
        if not path.is_symlink():
            os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    (top / "program").chmod(0o4755)
    if base:  # of the user namespace's root, as a program in the container would set it
        os.setxattr(top / "program", "security.capability", struct.pack("<IIIIII", 0x03000001, 1 << 10, 0, 0, 0, base))
    os.setxattr(plain, "user.binary", bytes(range(256)))
    os.setxattr(plain, "system.posix_acl_access", ACL.replace(named_user(1000), named_user(1000 + base)))
    os.setxattr(top / "a", "trusted.overlay.opaque", b"y")
    for path in (plain, top / "a" / "b", top / "a", top):
        os.utime(path, ns=(1, -987_654_321))


def test_whatever_a_container_leaves_can_be_given_back(dock: Engine, away: Away) -> None:
    """What a file system takes and a tar, or the next file system, does not, is noted and left out."""
    dock.create_volume("cargo")
    data = dock.paths.volume("cargo")
    for name in ("late", "odd", "large", "stranger"):
        (data / name).write_text(name)
    os.utime(data / "late", ns=(0, 10_413_792_000 * 10**9))  # the year 2300
    os.setxattr(data / "odd", b"user.\xff", b"no UTF-8")
    os.setxattr(data / "odd", "user.even", b"\xff")
    os.chown(data / "stranger", 100_000, 4_000_000_000)
    archive = io.BytesIO()
    told = dock.backup(archive)
    kept_late = data.joinpath("late").stat().st_mtime_ns < 2**63  # such a file system cuts it off itself
    late = [] if kept_late else ["a time that cannot be given back"]
    gone = "a user or group that no container has any more"  # who had the host's ids may be removed by now
    assert [note.split(": ")[1] for note in told.notes] == [*late, "an attribute", gone]
    there = away()
    restore(there, io.BytesIO(archive.getvalue()), force=False, progress=quiet)
    again = Paths(there).volume("cargo")
    assert {path.name: path.read_text() for path in again.iterdir()} == {name: name for name in os.listdir(data)}
    assert os.listxattr(again / "odd") == ["user.even"]
    assert ((again / "stranger").stat().st_uid, (again / "stranger").stat().st_gid) == (0, 0)
    assert (again / "late").stat().st_mtime_ns >= 9_000_000_000 * 10**9 or kept_late


def test_what_a_container_has_comes_back_exactly(dock: Engine, away: Away) -> None:
    dock.create_volume("cargo")
    container = dock.create(
        ContainerSpec(
            image="busybox",
            name="one",
            volumes=(VolumeMount("cargo", "/cargo"),),
            command=("sh", "-c", "echo said; exit 3"),
        )
    )
    dock.start("one")
    dock.wait("one")
    upper, data = dock.paths.container(container.id) / "upper", dock.paths.volume("cargo")
    shutil.rmtree(upper / "cargo")
    for top, base in ((upper, container.uid_base), (data, 0)):
        fill(top, base)
    there = away()
    restore(there, io.BytesIO(saved(dock)), force=False, progress=quiet)
    with Engine(there, spawn_launcher=True) as other:
        again = other.inspect("one")
        assert again.id == container.id
        assert again.uid_base != container.uid_base, "two living instances never share user ids"
        assert again.exit == dock.inspect("one").exit
        assert [line.text for line in other.logs("one")] == ["said"]
        moved = other.paths.container(again.id) / "upper"
        assert describe(moved, again.uid_base) == describe(upper, container.uid_base)
        assert describe(other.paths.volume("cargo"), 0) == describe(data, 0)
        assert "security.capability" in os.listxattr(moved / "program")
        layer = dock.image("busybox").layers[0].diff_id
        assert describe(other.paths.layer(layer), 0) == describe(dock.paths.layer(layer), 0)
        assert other.image("busybox").id == dock.image("busybox").id
        other.start("one")
        assert other.wait("one", timeout_s=10).code == 3
        other.remove("one")


def test_it_is_made_while_containers_run_and_come_and_go(dock: Engine, away: Away) -> None:
    turn = "echo $i > /f$i; mkdir -p /d$i/e; /bin/busybox mv /f$i /d$i/e/; /bin/busybox rm -r /d$i"
    churn = f"while :; do for i in 1 2 3 4 5 6 7 8; do {turn}; done; done"
    dock.start(dock.create(ContainerSpec(image="busybox", name="busy", command=("sh", "-c", churn))).id)
    door = dock.paths.container(dock.inspect("busy").id) / "upper" / "door"
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(door.parent, os.O_PATH)
        listener.bind(f"/proc/self/fd/{directory}/door")
        os.close(directory)
    for _ in range(5):
        out = io.BytesIO()
        told = dock.backup(out)
        assert any("a socket or a device: upper/door" in note for note in told.notes)
        assert dock.inspect("busy").state is State.RUNNING
        there = away()
        restore(there, io.BytesIO(out.getvalue()), force=False, progress=quiet)
        with Engine(there) as other:
            found = other.inspect("busy")
            assert found.state is State.EXITED
            assert found.exit is not None
            assert found.exit.code is None, "nobody invents how it ended"


def test_images_and_volumes_can_be_left_out(dock: Engine, away: Away, tmp_path: Path) -> None:
    dock.create_volume("cargo")
    (dock.paths.volume("cargo") / "file").touch()
    dock.create(
        ContainerSpec(image="busybox", name="one", volumes=(VolumeMount("cargo", "/cargo"),), command=("true",))
    )
    there = away()
    data = saved(dock, images=False, volumes=False)
    told = restore(there, io.BytesIO(data), force=False, progress=quiet)
    assert told.left_out == ("images", "volumes")
    with Engine(there, spawn_launcher=True) as other:
        assert list(other.paths.volume("cargo").iterdir()) == []
        with pytest.raises(EngineError):
            other.start("one")
        other.load_image(busybox_rootfs(tmp_path / "busybox.tar"), name="busybox")
        other.start("one")
        assert other.wait("one", timeout_s=10).code == 0
        other.remove("one")


def test_a_store_that_holds_something_is_replaced_by_force_alone(dock: Engine, config: Config) -> None:
    dock.create(ContainerSpec(image="busybox", name="before", command=("true",)))
    ids = dock.instance
    data = saved(dock)
    dock.remove("before")
    dock.create(ContainerSpec(image="busybox", name="after", command=("true",)))
    stop_launcher(config)
    with pytest.raises(AlreadyExists):
        restore(config, io.BytesIO(data), force=False, progress=quiet)
    assert [container.name for container in dock.containers()] == ["after"]
    restore(config, io.BytesIO(data), force=True, progress=quiet)
    dock.close()
    assert [container.name for container in dock.containers()] == ["before"]
    assert Engine(config).instance == ids
    assert list(dock.paths.trash.iterdir()) == []
    dock.start("before")
    assert dock.wait("before", timeout_s=10).code == 0


def test_nothing_is_replaced_under_a_console_or_a_container(dock: Engine, config: Config) -> None:
    data = saved(dock)
    dock.start(dock.create(ContainerSpec(image="busybox", name="runs", command=("sleep", "1000"))).id)
    with pytest.raises(Busy, match="a console"):
        restore(config, io.BytesIO(data), force=True, progress=quiet)
    kill(launcher(dock))
    assert eventually(lambda: not instance.is_locked(dock.paths.launcher_lock))
    with pytest.raises(Busy, match="containers"):
        restore(config, io.BytesIO(data), force=True, progress=quiet)
    assert dock.inspect("runs").state is State.RUNNING


def test_a_byte_wrong_anywhere_changes_nothing(dock: Engine, away: Away) -> None:
    container = dock.create(ContainerSpec(image="busybox", name="one", command=("true",)))
    (dock.paths.container(container.id) / "upper" / "file").write_text("of its own")
    data = bytearray(saved(dock))
    with tarfile.open(fileobj=io.BytesIO(data)) as outer:
        members = outer.getmembers()
    there = away()
    instance.prepare(there)
    before = sorted(str(path) for path in there.root.rglob("*"))
    contents = [each.offset_data + each.size * tenth // 10 for each in members if each.size for tenth in range(10)]
    assert len(contents) >= 50
    for at in (*contents, *(member.offset_data - 512 + FIELD_OF_SIZE for member in members)):
        data[at] ^= 0x40
        with pytest.raises(EngineError):
            restore(there, io.BytesIO(bytes(data)), force=False, progress=quiet)
        data[at] ^= 0x40
        assert [
            path for path in sorted(str(path) for path in there.root.rglob("*")) if "/state.db" not in path
        ] == before, at
    for end in (0, 10, 512, len(data) // 2, len(data) - 1024):
        with pytest.raises(EngineError):
            restore(there, io.BytesIO(bytes(data[:end])), force=False, progress=quiet)


def member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def changed(dock: Engine, change: Callable[[dict[str, bytes]], object]) -> bytes:
    """A backup whose members were changed; its sums are right, as an attacker's are."""
    parts: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(saved(dock))) as tar:
        for info in tar:
            file = tar.extractfile(info)
            assert file is not None
            parts[info.name] = file.read()
    told = json.loads(parts.pop(manifest.NAME))
    change(parts)
    told["members"] = {key: hashlib.sha256(data).hexdigest() for key, data in parts.items()}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for key, data in parts.items():
            member(tar, key, data)
        member(tar, manifest.NAME, json.dumps(told).encode())
    return out.getvalue()


def hostile(dock: Engine, name: str, entries: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A backup whose member ``name`` is this tree."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return changed(dock, lambda parts: parts.update({name: inner.getvalue()}))


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **more: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    for key, value in more.items():
        setattr(info, key, value)
    return info


def test_a_hostile_tree_reaches_nothing_outside(dock: Engine, away: Away, tmp_path: Path) -> None:
    target = tmp_path / "victim"
    target.write_text("mine")
    dock.create_volume("cargo")
    name = "volumes/cargo.tar.gz"
    trees = {
        "up": [(entry("../../escaped"), b"x")],
        "absolute": [(entry(str(tmp_path / "escaped")), b"x")],
        "through a link": [(entry("d", tarfile.SYMTYPE, str(tmp_path)), b""), (entry("d/escaped"), b"x")],
        "over a link": [(entry("f", tarfile.SYMTYPE, str(target)), b""), (entry("f"), b"theirs")],
        "a hard link out": [(entry("f", tarfile.LNKTYPE, str(target)), b"")],
        "a hard link up": [(entry("f", tarfile.LNKTYPE, "../../../state.db"), b"")],
        "the host's disk": [(entry("disk", tarfile.BLKTYPE, devmajor=8), b"")],
        "the host's memory": [(entry("mem", tarfile.CHRTYPE, devmajor=1, devminor=1), b"")],
        "another container's user": [(entry("f", uid=600_000), b"x")],
    }
    outcomes = {}
    for what, entries in trees.items():
        there = away()
        try:
            restore(there, io.BytesIO(hostile(dock, name, entries)), force=False, progress=quiet)
            outcomes[what] = "restored"
        except EngineError:
            outcomes[what] = "refused"
        assert target.read_text() == "mine", what
        assert not (tmp_path / "escaped").exists(), what
        assert not list(there.root.parent.glob("escaped")), what
    assert {what for what, outcome in outcomes.items() if outcome == "restored"} == {"over a link"}, (
        "replaced by a file"
    )


@pytest.mark.parametrize(
    "name", ["../state.db", "/etc/x", "volumes/strange.tar.gz", "layers/../x.tar.gz", "instance", "state.db-wal"]
)
def test_a_member_that_nobody_saved_is_refused(dock: Engine, away: Away, name: str) -> None:
    with pytest.raises(Corrupt, match="has no place in it"):
        restore(away(), io.BytesIO(hostile(dock, name, [])), force=False, progress=quiet)


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE containers SET id = '../../escaped'",
        "UPDATE containers SET id = x'00'",
        "UPDATE containers SET uid_base = 'none'",
        "UPDATE containers SET uid_base = -1",
        "UPDATE containers SET spec = replace(spec, '\"cargo\"', '\"../../..\"')",
        "UPDATE volumes SET name = '../../escaped'",
        "UPDATE layers SET diff_id = 'sha256:../../../escaped'",
        "CREATE TRIGGER later AFTER UPDATE ON containers BEGIN INSERT INTO volumes VALUES ('../../escaped', 0); END",
        "DROP TABLE volumes",
        "DROP TABLE containers; CREATE VIEW containers AS SELECT '../../escaped' AS id, 0 AS uid_base, '' AS spec",
    ],
)
def test_a_state_that_names_places_outside_is_refused(dock: Engine, away: Away, tmp_path: Path, script: str) -> None:
    mounts = (VolumeMount("cargo", "/cargo"),)
    dock.create_volume("cargo")
    dock.create(ContainerSpec(image="busybox", name="one", volumes=mounts, command=("true",)))

    def change(parts: dict[str, bytes]) -> None:
        (tmp_path / "state.db").write_bytes(parts["state.db"])
        with closing(sqlite3.connect(tmp_path / "state.db")) as database:
            database.executescript(script)
        parts["state.db"] = (tmp_path / "state.db").read_bytes()

    there = away()
    with pytest.raises(Corrupt, match=r"the backup is damaged: state\.db"):
        restore(there, io.BytesIO(changed(dock, change)), force=False, progress=quiet)
    assert not list(there.root.parent.glob("escaped"))
    assert not Paths(there).database.exists()


def test_containers_that_share_ids_come_back_with_them(dock: Engine, away: Away) -> None:
    dock.create_volume("cargo")
    mounts = (VolumeMount("cargo", "/cargo"),)
    dock.start(dock.create(ContainerSpec(image="busybox", name="first", command=("sleep", "1000"))).id)
    shares = Namespaces(pid="container:first")
    touch = ("sh", "-c", "touch /mine; /bin/busybox chown 7:7 /mine")
    dock.create(ContainerSpec(image="busybox", name="second", namespaces=shares, command=touch))
    far = ("sh", "-c", "for place in /far /cargo/far; do touch $place; /bin/busybox chown 700000:0 $place; done")
    host = Namespaces(user="host")
    dock.create(ContainerSpec(image="busybox", name="third", namespaces=host, volumes=mounts, command=far))
    for name in ("second", "third"):
        dock.start(name)
        assert dock.wait(name, timeout_s=10).code == 0, [line.text for line in dock.logs(name)]
    there = away()
    restore(there, io.BytesIO(saved(dock)), force=False, progress=quiet)
    with Engine(there, spawn_launcher=True) as other:
        first, second, third = (other.inspect(name) for name in ("first", "second", "third"))
        assert second.uid_base == first.uid_base != dock.inspect("first").uid_base
        assert third.uid_base == 0
        assert (other.paths.container(second.id) / "upper/mine").stat().st_uid == second.uid_base + 7
        assert (other.paths.container(third.id) / "upper/far").stat().st_uid == 700_000
        assert (other.paths.volume("cargo") / "far").stat().st_uid == 700_000
        other.start("first")
        for name in ("second", "third"):
            other.start(name)
            assert other.wait(name, timeout_s=10).code == 0
        other.remove("first", force=True)


@pytest.mark.parametrize(("change", "told"), [({"format": 99}, "format 99 of a newer"), ({"members": 3}, "manifest")])
def test_a_manifest_that_is_not_understood_is_refused(change: dict[str, int], told: str) -> None:
    good = {"format": 1, "schema": 1, "created_at_ns": 0, "members": {}, "left_out": [], "notes": []}
    manifest.Manifest.from_json(json.dumps(good).encode())
    with pytest.raises(Corrupt, match=told):
        manifest.Manifest.from_json(json.dumps(good | change).encode())


KILLED = """
import io, os, signal, sys
from pathlib import Path
from engine import Config
from engine.backup.purge import purge
from engine.backup.restore import restore
from engine.storage import instance
renames, when = 0, int(sys.argv[4])
original = os.rename
def rename(self, target):
    global renames
    renames += 1
    if renames == when:
        os.kill(os.getpid(), signal.SIGKILL)
    original(self, target)
Path.rename = rename
restore(Config(Path(sys.argv[1]), Path(sys.argv[2])), open(sys.argv[3], "rb"), force=True, progress=lambda text: None)
"""


def test_killed_at_any_rename_it_is_the_old_store_or_the_new(dock: Engine, config: Config, tmp_path: Path) -> None:
    dock.create(ContainerSpec(image="busybox", name="new", command=("true",)))
    (tmp_path / "backup").write_bytes(saved(dock))
    seen = []
    for when in range(1, 40):
        with Engine(config) as old:
            if old.containers()[0].name == "new":
                old.rename("new", "old")
        stop_launcher(config)
        command = [sys.executable, "-c", KILLED, str(config.root), str(config.run), str(tmp_path / "backup"), str(when)]
        ended = subprocess.run(command, cwd=TOP)
        with Engine(config) as after:
            (container,) = after.containers()
            assert after.paths.container(container.id).is_dir()
            assert [image.tags for image in after.images()] == [("busybox:latest",)]
            assert after.paths.layer(after.images()[0].layers[0].diff_id).is_dir()
            seen.append(container.name)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
    assert seen[0] == "old"
    assert seen == sorted(seen, reverse=True), "once new, always new"
    assert seen[-1] == "new"
    assert len(seen) > 5


def test_the_command_line_does_both(dock: Engine, away: Away, tmp_path: Path) -> None:
    dock.create(ContainerSpec(image="busybox", name="one", command=("true",)))
    there = away()

    def wharfie(config: Config, *words: str, **more: object) -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {"WHARFIE_ROOT": str(config.root), "WHARFIE_RUN": str(config.run)}
        command = [sys.executable, "manage.py", "wharfie", *words]
        return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, check=False, **more)  # type: ignore[call-overload,no-any-return]

    assert wharfie(dock.config, "backup", str(tmp_path / "all")).returncode == 0
    assert (tmp_path / "all").stat().st_mode & 0o777 == 0o600
    piped = wharfie(dock.config, "backup", "-")
    assert piped.returncode == 0
    with tarfile.open(fileobj=io.BytesIO(piped.stdout)) as tar:
        assert tar.getnames()[0] == "state.db"
    assert wharfie(there, "restore", "-", input=piped.stdout).returncode == 0
    assert wharfie(there, "ps", "-aq").stdout.decode().strip() == dock.inspect("one").short_id
    again = wharfie(there, "restore", str(tmp_path / "all"))
    assert again.returncode == 125
    assert b"--force" in again.stderr
    missing = wharfie(there, "restore", str(tmp_path / "nothing"), "--force")
    assert missing.returncode == 125
    assert wharfie(there, "backup", str(tmp_path / "no" / "dir")).returncode == 125


def test_what_is_purged_leaves_nothing_and_a_place_without_a_store_is_let_be(dock: Engine, away: Away) -> None:
    there = away()
    restore(there, io.BytesIO(saved(dock)), force=False, progress=quiet)
    with Engine(there, spawn_launcher=True) as other:
        name = other.instance
        other.start(other.create(ContainerSpec(image="busybox", name="last", command=("sleep", "1000"))).id)
        assert instance_groups(name)
        with pytest.raises(Busy):
            purge(there)
        kill(launcher(other))
        assert eventually(lambda: not instance.is_locked(other.paths.launcher_lock))
        with pytest.raises(Busy, match="containers"):
            purge(there)
        other.kill("last")
        other.wait("last", timeout_s=10)
    purge(there)
    assert not there.root.exists()
    assert not there.run.exists()
    assert not instance_groups(name), "not even empty groups"
    assert not (instance.CLAIMS / name).exists()
    purge(there)


def test_a_store_behind_a_symbolic_link_is_saved_and_purged(dock: Engine, away: Away, tmp_path: Path) -> None:
    there = away()
    restore(there, io.BytesIO(saved(dock)), force=False, progress=quiet)
    link = Config(tmp_path / "root", tmp_path / "run")
    link.root.symlink_to(there.root)
    link.run.symlink_to(there.run)
    with Engine(link) as other, tarfile.open(fileobj=io.BytesIO(saved(other))) as archive:
        assert archive.getmember(manifest.CONFIG).size
    purge(link)
    assert not there.root.exists()
    assert not there.run.exists()
    assert not link.root.is_symlink()
    assert not link.run.is_symlink()


KILLED_PURGING = """
import os, signal, sys
from console.commandline import main
removed, most = 0, int(sys.argv[1])
def counting(original):
    def remove(*arguments, **options):
        global removed
        original(*arguments, **options)
        removed += 1
        if removed == most:
            os.kill(os.getpid(), signal.SIGKILL)
    return remove
os.unlink, os.rmdir = counting(os.unlink), counting(os.rmdir)
sys.exit(main(["purge", "--yes"]))
"""


def test_a_purge_that_was_killed_is_done_by_doing_it_again(away: Away) -> None:
    there = away()
    with Engine(there) as other:
        name = other.instance
        other.create_volume("cargo")
    environment = os.environ | {"WHARFIE_ROOT": str(there.root), "WHARFIE_RUN": str(there.run)}
    for most in range(1, 100):  # each gets further than the one before
        ended = subprocess.run([sys.executable, "-c", KILLED_PURGING, str(most)], cwd=TOP, env=environment)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
        left = os.listdir(there.root) if there.root.exists() else []
        assert not left or "instance" in left
    assert most > 5
    assert not there.root.exists()
    assert not there.run.exists()
    assert not (instance.CLAIMS / name).exists()
