"""A root file system made by Debian's own tool runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import ContainerSpec, Engine

pytestmark = pytest.mark.peer


def test_a_debian_root_file_system_runs(engine: Engine, debian: Path) -> None:
    (image,) = engine.load_image(debian)
    assert image.tags == ("debian:latest",)
    script = "id -un; dpkg --get-selections | grep -c install; . /etc/os-release; echo $ID $VERSION_CODENAME"
    container = engine.create(ContainerSpec(image="debian", command=("/bin/bash", "-c", script)))
    engine.start(container.id)
    assert engine.wait(container.id, timeout_s=60).code == 0
    user, packages, system = [line.text for line in engine.logs(container.id)]
    assert (user, system) == ("root", "debian bookworm")
    assert int(packages) > 20
