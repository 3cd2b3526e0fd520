"""An engine with a busybox image in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import ContainerSpec, Engine, ExitRecord
from engine.errors import NotFound
from engine.linux import files
from tests.images import busybox_rootfs
from tests.leaks import instance_groups

Run = Callable[..., tuple[ExitRecord, list[str]]]


def groups(engine: Engine, container_id: str = "") -> list[Path]:
    """The control groups of a container, in every hierarchy; without one those of the instance, above all of them."""
    return instance_groups(engine.instance, container_id)


@pytest.fixture
def dock(engine: Engine, kept_images: set[str], tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine that has the image ``busybox``."""
    try:
        engine.image("busybox")
    except NotFound:
        loaded = engine.load_image(busybox_rootfs(tmp_path_factory.mktemp("dock") / "busybox.tar"), name="busybox")
        kept_images.update(image.id for image in loaded)
    return engine


@pytest.fixture
def run(dock: Engine) -> Run:
    """Run a command to its end: how it ended, and its lines."""

    def act(*command: str, **options: object) -> tuple[ExitRecord, list[str]]:
        container = dock.create(ContainerSpec(image="busybox", command=command, **options))  # type: ignore[arg-type]
        try:
            dock.start(container.id)
            ended = dock.wait(container.id, timeout_s=30)
            return ended, [line.text for line in dock.logs(container.id)]
        finally:
            dock.remove(container.id, force=True)

    return act


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system by Debian's own tool, made once for all workers of a run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    archive = shared / "debian.tar"
    with files.locked(str(shared / "debian.lock")):
        if not archive.exists():
            half = shared / "debian.part.tar"
            make = ["mmdebstrap", "--quiet", "--variant=essential", "bookworm", str(half)]
            environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(shared)}
            subprocess.run(make, check=True, env=environment)
            half.rename(archive)
    return archive
