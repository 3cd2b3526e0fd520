"""Set-id bits and file capabilities: kept among containers, and no power over the host."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from engine import ContainerSpec, Engine, VolumeMount

CAPABILITY = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)  # cap_net_bind_service+ep; linux/capability.h, v2


def powerful(*, name: str = "program") -> io.BytesIO:
    """A program with a set-uid bit and one with a capability, as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info in (tarfile.TarInfo(name), tarfile.TarInfo(f"{name}-2")):
            info.mode, info.uid = 0o6755 if info.name == name else 0o755, 12
            if info.name != name:
                info.pax_headers["SCHILY.xattr.security.capability"] = CAPABILITY.decode()
            tar.addfile(info)
    out.seek(0)
    return out


def test_they_go_in_and_do_not_come_out_to_the_host(dock: Engine, tmp_path: Path) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("true",)))
    dock.files.copy_in(container.id, "/tmp", powerful())
    inside = dock.paths.container(container.id) / "upper/tmp"
    assert (inside / "program").stat().st_mode & 0o7777 == 0o6755
    assert "security.capability" in os.listxattr(inside / "program-2")
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with dock.files.copy_out(container.id, "/tmp", "all") as stream:
            dock.files.unpack(directory, stream)
    finally:
        os.close(directory)
    found = (tmp_path / "all/program").stat()
    assert (found.st_mode & 0o7777, found.st_uid) == (0o755, 12), "owners come, power does not"
    assert os.listxattr(tmp_path / "all/program-2") == []


def test_a_volume_that_is_filled_has_them_as_the_image_does(dock: Engine, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(powerful(name="opt/tools/program").getvalue())
    dock.load_image(tmp_path / "image.tar", name="tools")
    dock.create_volume("tools")
    container = dock.create(
        ContainerSpec(image="tools", command=("/absent",), volumes=(VolumeMount("tools", "/opt/tools"),))
    )
    dock._lifecycle._filling.fill(container, dock.image("tools"))
    assert (dock.paths.volume("tools") / "program").stat().st_mode & 0o7777 == 0o6755
    assert "security.capability" in os.listxattr(dock.paths.volume("tools") / "program-2")
