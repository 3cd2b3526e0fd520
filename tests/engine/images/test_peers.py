"""Archives that other tools wrote, and the same images unpacked by them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.engine.archives.tars import snapshot
from tests.engine.images.archives import docker_save, tar
from tests.engine.images.conftest import Store

pytestmark = pytest.mark.peer

BUSYBOX = Path("/bin/busybox")


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    """A docker-save tar with two layers made of Debian's static busybox."""
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in ("sh", "ls", "echo"):
        os.link(root / "bin/busybox", root / "bin" / applet)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "old").mkdir()
    (root / "old/file").write_text("old")
    with tarfile.open(tmp_path / "base.tar", "w") as archive:
        archive.add(root, ".")
    top = tar({"old/.wh.file": b"", "etc/motd": b"hello"})
    path = tmp_path / "busybox.tar"
    path.write_bytes(tar(docker_save([(tmp_path / "base.tar").read_bytes(), top], "busybox:1")))
    return path


def test_a_busybox_image_runs(store: Store, busybox: Path) -> None:
    (image,) = store.images.load(busybox)
    root = store.paths.layer(image.layers[0].diff_id)
    done = subprocess.run(["chroot", str(root), "/bin/echo", "hi"], check=True, stdout=subprocess.PIPE)
    assert done.stdout == b"hi\n"
    assert (root / "bin/sh").samefile(root / "bin/busybox")


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_what_skopeo_copies_is_the_same_image(store: Store, busybox: Path, tmp_path: Path, kind: str) -> None:
    (image,) = store.images.load(busybox)
    copy = tmp_path / "copy.tar"
    command = ["skopeo", "copy", "-q", "--insecure-policy", f"docker-archive:{busybox}", f"{kind}:{copy}:copy/app:2"]
    subprocess.run(command, check=True, env=os.environ | {"TMPDIR": str(tmp_path)})
    (copied,) = store.images.load(copy)
    assert "copy/app:2" in copied.tags
    assert store.images.get("docker.io/copy/app:2") == copied
    assert copied.layers == image.layers


def test_umoci_unpacks_the_same_files(store: Store, busybox: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    subprocess.run(
        ["skopeo", "copy", "-q", "--insecure-policy", f"docker-archive:{busybox}", f"oci:{layout}:x"],
        check=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    bundle = tmp_path / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:x", str(bundle)], check=True, stderr=subprocess.DEVNULL)
    (image,) = store.images.load(busybox)
    merged = tmp_path / "merged"
    merged.mkdir()
    lower = ":".join(str(store.paths.layer(layer.diff_id)) for layer in reversed(image.layers))
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={lower}", str(merged)], check=True)
    try:
        ours, theirs = (
            {name.removeprefix(str(top)): values[:3] + values[5:] for name, values in snapshot(top).items()}
            for top in (merged, bundle / "rootfs")
        )
    finally:
        subprocess.run(["umount", str(merged)], check=True)
    assert "/old/file" not in ours
    assert ours == theirs


def test_a_debian_root_file_system_comes_out_complete(store: Store, debian: Path) -> None:
    (image,) = store.images.load(debian)
    assert image.tags == ("debian:latest",)
    root = store.paths.layer(image.layers[0].diff_id)
    done = subprocess.run(["chroot", str(root), "/bin/bash", "-c", "id -un"], check=True, stdout=subprocess.PIPE)
    assert done.stdout == b"root\n"
    with tarfile.open(debian) as listing:
        for member in listing:
            path = root / member.name
            assert member.isdev() or os.path.lexists(path), member.name
            if member.isreg() and not member.islnk():
                status = path.stat()
                assert (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_size) == (
                    member.mode,
                    member.uid,
                    member.gid,
                    member.size,
                )
