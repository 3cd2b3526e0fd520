"""A container of an image with many layers."""

from __future__ import annotations

from pathlib import Path

from engine import ContainerSpec, Engine
from tests.engine.conftest import busybox_rootfs
from tests.engine.images.archives import docker_save, tar

LAYERS = 45


def test_every_layer_is_seen_and_the_last_one_wins(engine: Engine, tmp_path: Path) -> None:
    base = busybox_rootfs(tmp_path / "busybox.tar").read_bytes()
    uppers = [tar({f"srv/{number:02}": b"", "srv/last": f"{number:02}".encode()}) for number in range(1, LAYERS)]
    saved = tmp_path / "many.tar"
    saved.write_bytes(tar(docker_save([base, *uppers], "many:1")))
    engine.load_image(saved)
    command = ("sh", "-c", "cd /srv && id -u && stat -c %u * | sort -u && ls && cat last")
    container = engine.create(ContainerSpec(image="many:1", command=command, user="0"))
    engine.start(container.id)
    assert engine.wait(container.id, timeout_s=60).code == 0
    lines = [line.text for line in engine.logs(container.id)]
    assert lines == ["0", "0", *(f"{number:02}" for number in range(1, LAYERS)), "last", f"{LAYERS - 1:02}"]
    engine.remove(container.id)
