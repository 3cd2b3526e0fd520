"""Volumes that take over an image's files, parts of volumes, directories of the host, and file systems in memory."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from engine import BindMount, ContainerSpec, Engine, Limits, TmpfsMount, VolumeMount
from engine.errors import Denied, InvalidRequest, Unsupported
from tests.engine.conftest import Run

pytestmark = pytest.mark.one_engine


@pytest.fixture
def seeded(dock: Engine, tmp_path: Path) -> Engine:
    """An engine whose image ``seeded`` has files of another user in /seed, and links that lead there."""
    path = tmp_path / "seeded.tar"
    with tarfile.open(path, "w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for applet in ("sh", "cat", "ls", "stat", "touch", "id", "mkdir", "head", "rm"):
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        for name, kind, mode in (("seed", tarfile.DIRTYPE, 0o2750), ("seed/sub", tarfile.DIRTYPE, 0o700)):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = kind, mode, 33, 34
            tar.addfile(info)
        info = tarfile.TarInfo("seed/sub/file")
        info.size, info.mode, info.uid = 4, 0o4711, 35
        tar.addfile(info, io.BytesIO(b"seed"))
        for name, target in (("link", "/seed"), ("seed/out", "/etc/passwd")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    dock.load_image(path, name="seeded")
    for name in ("v", "w"):
        dock.create_volume(name)
    return dock


def output(engine: Engine, script: str, image: str = "seeded", **options: object) -> list[str]:
    container = engine.create(ContainerSpec(image=image, command=("sh", "-c", script), **options))  # type: ignore[arg-type]
    try:
        engine.start(container.id)
        engine.wait(container.id, 30)
        return [line.text for line in engine.logs(container.id)]
    finally:
        engine.remove(container.id, force=True)


LOOK = "stat -c '%a %u:%g' /seed /seed/sub /seed/sub/file; cat /seed/sub/file"
FRESH = ["2750 33:34", "700 33:34", "4711 35:0", "seed"]


def test_an_empty_volume_takes_over_what_the_image_has(seeded: Engine) -> None:
    assert output(seeded, LOOK, volumes=(VolumeMount("v", "/seed"),)) == FRESH
    data = seeded.paths.volume("v")
    assert os.readlink(data / "out") == "/etc/passwd"
    assert (data / "sub/file").stat().st_uid == 35
    assert not seeded.paths.volume_filling("v").exists()
    # Once it holds something, it is left alone.
    (data / "sub/file").write_text("mine")
    assert output(seeded, LOOK, volumes=(VolumeMount("v", "/seed"),))[-1] == "mine"
    assert output(seeded, "ls /link", volumes=(VolumeMount("w", "/link"),)) == ["out", "sub"]


def test_nocopy_and_places_that_the_image_lacks_leave_it_empty(seeded: Engine) -> None:
    assert output(seeded, "ls -A /seed", volumes=(VolumeMount("v", "/seed", copy=False),)) == []
    assert output(seeded, "ls -A /new", volumes=(VolumeMount("v", "/new"),)) == []
    assert list(seeded.paths.volume("v").iterdir()) == []


def test_a_filling_that_was_cut_short_is_done_again(seeded: Engine) -> None:
    data = seeded.paths.volume("v")
    (data / "sub").mkdir()
    (data / "sub/file").write_text("se")
    seeded.paths.volume_filling("v").touch()
    assert output(seeded, LOOK, volumes=(VolumeMount("v", "/seed"),)) == FRESH


def test_only_a_first_start_fills(seeded: Engine) -> None:
    spec = ContainerSpec(
        image="seeded", command=("rm", "-rf", "/seed/sub", "/seed/out"), volumes=(VolumeMount("v", "/seed"),)
    )
    container = seeded.create(spec)
    for _ in range(2):
        seeded.start(container.id)
        assert seeded.wait(container.id, 30).code == 0
    assert list(seeded.paths.volume("v").iterdir()) == []


def test_a_part_of_a_volume(seeded: Engine) -> None:
    data = seeded.paths.volume("v")
    (data / "a/b").mkdir(parents=True)
    (data / "a/b/file").write_text("part")
    (data / "link").symlink_to("a/b")
    (data / "out").symlink_to("/etc")
    assert output(seeded, "cat /p/file", volumes=(VolumeMount("v", "/p", subpath="a/b"),)) == ["part"]
    for subpath in ("link", "out", "a/none", "a/b/file"):
        with pytest.raises(InvalidRequest, match="no directory"):
            output(seeded, "ls /p", volumes=(VolumeMount("v", "/p", subpath=subpath),))
    for subpath in ("../w", "/etc", "a/../../w", "a//b", "a/", "a\0b"):
        with pytest.raises(InvalidRequest):
            seeded.create(ContainerSpec(image="seeded", volumes=(VolumeMount("v", "/p", subpath=subpath),)))


def test_a_directory_and_a_file_of_the_host(seeded: Engine, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_text("from the host\n")
    os.chown(tmp_path / "dir/file", 12, 13)
    binds = (BindMount(str(tmp_path / "dir"), "/host"), BindMount(str(tmp_path / "dir/file"), "/etc/one", True))
    said = output(
        seeded,
        "stat -c %u:%g /host/file; cat /etc/one; touch /host/new; echo x 2> /dev/null > /etc/one || echo no",
        binds=binds,
    )
    assert said[:2] == ["12:13", "from the host"]
    assert "no" in said
    assert (tmp_path / "dir/new").stat().st_uid == 0
    assert (tmp_path / "dir/file").read_text() == "from the host\n"
    flags = output(
        seeded, "cat /proc/self/mounts | while read d p t o r; do [ $p = /host ] && echo $o; done", binds=binds
    )
    assert {"nosuid", "nodev", "rw"} <= set(flags[0].split(","))


def test_what_is_the_hosts_own_is_not_bound(seeded: Engine, tmp_path: Path) -> None:
    door = tmp_path / "door"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(door))
    alias = tmp_path / "alias"
    alias.symlink_to(seeded.paths.root)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "--bind", str(seeded.paths.root), str(mounted)], check=True)
    try:
        refused = [
            "/", "/proc", "/proc/1", "/sys/fs", "/dev", "/dev/null", "/dev/shm", "/run", "/var", "/etc/shadow",
            str(door), str(alias), str(mounted), str(mounted / "volumes"), str(mounted / "state.db"),
            str(seeded.paths.root), str(seeded.paths.root / "layers"), str(seeded.paths.database),
            str(seeded.paths.run), str(seeded.paths.run.parent), str(seeded.paths.root.parent),
        ]  # fmt: skip
        for source in refused:
            for read_only in (False, True):
                with pytest.raises(Denied) as caught:
                    seeded.create(ContainerSpec(image="seeded", binds=(BindMount(source, "/h", read_only),)))
                assert caught.value.hint
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
        listener.close()
    with pytest.raises(Denied, match="/usr"):
        seeded.create(ContainerSpec(image="seeded", binds=(BindMount("/usr/share", "/h"),)))
    seeded.create(ContainerSpec(image="seeded", command=("true",), binds=(BindMount("/usr/share", "/h", True),)))
    for source in ("relative", "/nowhere", "/proc/self/root/tmp", "/a\0b"):
        with pytest.raises((InvalidRequest, Denied)):
            seeded.create(ContainerSpec(image="seeded", binds=(BindMount(source, "/h"),)))
    assert len(seeded.containers()) == 1


def test_what_is_bound_is_judged_again_at_each_start(seeded: Engine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    container = seeded.create(
        ContainerSpec(image="seeded", command=("ls", "/h"), binds=(BindMount(str(source), "/h"),))
    )
    source.rmdir()
    source.symlink_to(seeded.paths.root)
    with pytest.raises(Denied):
        seeded.start(container.id)
    with pytest.raises(Denied):
        seeded.files.stat(container.id, "/h")
    source.unlink()
    with pytest.raises(InvalidRequest):
        seeded.start(container.id)
    source.mkdir()
    seeded.start(container.id)
    assert seeded.wait(container.id, 30).code == 0


def test_a_file_system_in_memory(seeded: Engine) -> None:
    tmpfs = (TmpfsMount("/m", 2**20, 0o700), TmpfsMount("/m/x", executable=True), TmpfsMount("/r", read_only=True))
    script = (
        "cat /proc/self/mounts; stat -c %a /m; head -c 2000000 /dev/zero > /m/big || echo full; touch /r/x || echo ro"
    )
    said = output(seeded, script, tmpfs=tmpfs)
    mounts = {line.split()[1]: set(line.split()[3].split(",")) for line in said if line.count(" ") == 5}
    assert {"size=1024k", "mode=700", "noexec", "nosuid", "nodev"} <= mounts["/m"]
    assert "noexec" not in mounts["/m/x"]
    assert "ro" in mounts["/r"]
    assert [line for line in said if line in ("700", "full", "ro")] == ["700", "full", "ro"]


def test_what_it_holds_counts_as_the_containers(run: Run) -> None:
    limits = Limits(memory_bytes=16 * 2**20, memory_swap_bytes=16 * 2**20)
    ended, _ = run("sh", "-c", "exec head -c 100000000 /dev/zero > /m/big", limits=limits, tmpfs=(TmpfsMount("/m"),))
    assert ended.oom_killed
    assert ended.oom_limit_bytes == 16 * 2**20


@pytest.mark.parametrize(
    "options",
    [
        {"tmpfs": (TmpfsMount("/proc"),)},
        {"tmpfs": (TmpfsMount("relative"),)},
        {"tmpfs": (TmpfsMount("/m", 1),)},
        {"tmpfs": (TmpfsMount("/m", mode=0o7777),)},
        {"tmpfs": (TmpfsMount("/m"),), "binds": (BindMount("/var/tmp", "/m/"),)},
        {"binds": (BindMount("/var/tmp", "/"),)},
        {"tmpfs": tuple(TmpfsMount(f"/m{number}") for number in range(61))},
    ],
)
def test_what_cannot_be_mounted_is_refused(seeded: Engine, options: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        seeded.create(ContainerSpec(image="seeded", command=("true",), **options))  # type: ignore[arg-type]
    assert caught.value.field in ("tmpfs", "binds", "volumes")
    assert caught.value.hint


def test_as_many_as_are_allowed(seeded: Engine, tmp_path: Path) -> None:
    binds = tuple(BindMount(str(tmp_path), f"/b{number}") for number in range(60))
    assert len(output(seeded, "ls -d /b[0-9]*", binds=binds)) == 60


def test_a_file_system_without_mapped_ids_is_named(seeded: Engine, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "ramfs", "none", str(tmp_path)], check=True)
    try:
        with pytest.raises(Unsupported, match="no mapped ids"):
            output(seeded, "true", binds=(BindMount(str(tmp_path), "/h"),))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
