"""Where volumes and the files of /etc are put in images that were built with links."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from engine import ContainerSpec, Engine, VolumeMount
from engine.errors import InvalidRequest
from tests.images import busybox_rootfs

LINKS = {
    "etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf",  # of systemd-resolved, and dangling
    "etc/hosts": "/srv/hosts",
    "var/run": "/run",
    "up": "../../../../srv/x",
    "a": "b",
    "b": "a",
    "kernel": "/proc/sys",
    "relative": "srv/./real/../real/",
}


@pytest.fixture
def linked(engine: Engine, tmp_path: Path) -> Engine:
    """An engine whose image ``busybox`` is full of links."""
    path = busybox_rootfs(tmp_path / "busybox.tar")
    with tarfile.open(path, "a") as tar:
        for name, target in LINKS.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        data = tarfile.TarInfo("srv/file")
        data.size = 1
        tar.addfile(data, io.BytesIO(b"x"))
    engine.load_image(path, name="busybox")
    return engine


def output(engine: Engine, script: str, *volumes: tuple[str, str]) -> list[str]:
    """What a shell script prints in a container with these volumes."""
    mounts = tuple(VolumeMount(name, target) for name, target in volumes)
    container = engine.create(ContainerSpec(image="busybox", command=("sh", "-c", script), volumes=mounts))
    engine.start(container.id)
    assert engine.wait(container.id, timeout_s=10).code == 0
    return [line.text for line in engine.logs(container.id)]


def mounted(engine: Engine, *volumes: tuple[str, str]) -> list[str]:
    """The places that a container has volumes on."""
    lines = output(engine, "cat /proc/self/mountinfo", *volumes)
    return sorted(line.split()[4] for line in lines if "/data " in f"{line.split()[3]} ")


def test_the_files_of_etc_follow_the_images_links(linked: Engine) -> None:
    script = "cat /etc/hosts /srv/hosts; stat -c %F /run/systemd/resolve/stub-resolv.conf; stat -c %F /etc/resolv.conf"
    lines = output(linked, script)
    assert lines.count("127.0.0.1 localhost") == 2
    assert lines[-1] == "symbolic link"
    assert lines[-2] == "regular empty file"


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/var/run/postgresql", "/run/postgresql"),
        ("/up/y", "/srv/x/y"),
        ("/relative/z", "/srv/real/z"),
        ("/new/one", "/new/one"),
    ],
)
def test_a_volume_goes_where_the_images_links_lead(linked: Engine, target: str, place: str) -> None:
    linked.create_volume("v")
    assert mounted(linked, ("v", target)) == [place]


def test_a_volume_below_another_is_seen_in_whatever_order_they_are_named(linked: Engine) -> None:
    for name in ("inner", "outer"):
        linked.create_volume(name)
    assert mounted(linked, ("inner", "/data/b"), ("outer", "/data")) == ["/data", "/data/b"]
    assert output(linked, "touch /data/b/x && ls /data/b", ("inner", "/data/b"), ("outer", "/data")) == ["x"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/a/x", "Too many levels"),
        ("/srv/file", "Not a directory"),
        ("/srv/file/below", "Not a directory"),
        ("/kernel", "cross-device"),
        ("/kernel/net", "cross-device"),
    ],
)
def test_a_place_that_cannot_be_says_why_at_its_field(linked: Engine, target: str, reason: str) -> None:
    linked.create_volume("v")
    container = linked.create(ContainerSpec(image="busybox", volumes=(VolumeMount("v", target),), command=("true",)))
    with pytest.raises(InvalidRequest, match=reason) as caught:
        linked.start(container.id)
    assert caught.value.field == "volumes"
    assert caught.value.hint
