"""The probe's findings under Wharfie and, where Debian's are installed, under crun and runc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Config, ContainerSpec, Engine
from engine.storage import instance
from tests import conftest, leaks

PROBE = Path(__file__).with_name("probe.py")
Facts = dict[str, Any]


@pytest.fixture(scope="session")
def starter() -> Iterator[Engine]:
    """An engine with the starter image, whose python3 runs the probe."""
    name = f"{leaks.NAME}{leaks.session()}-{os.getpid()}-isolation"
    config = Config(root=Path("/var/tmp") / name, run=Path("/run") / name)
    with Engine(config, spawn_launcher=True) as engine:
        engine.make_starter_image()
        yield engine
        for container in engine.containers():
            engine.remove(container.id, force=True)
    conftest.stop_launcher(config)
    instance.release(config)
    shutil.rmtree(config.root)
    shutil.rmtree(config.run)


def probe(engine: Engine, **options: Any) -> Facts:
    """Run the probe in a container."""
    command = ("/usr/bin/python3", "-I", "-c", PROBE.read_text())
    container = engine.create(ContainerSpec(image="wharfie/starter", command=command, **options))
    try:
        engine.start(container.id)
        ended = engine.wait(container.id, timeout_s=60)
        lines = [line.text for line in engine.logs(container.id)]
        assert ended.code == 0, lines
        facts: Facts = json.loads(lines[-1])
        return facts | {"uid_base": container.uid_base}
    finally:
        engine.remove(container.id, force=True)


@pytest.fixture(scope="session")
def facts(starter: Engine) -> Facts:
    """What the probe finds with everything at its default."""
    return probe(starter)


@pytest.fixture(scope="session", params=["crun", "runc"])
def peer(
    request: pytest.FixtureRequest, starter: Engine, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Facts]:
    """The same probe under a peer with its own default configuration."""
    command = str(request.param)
    if not shutil.which(command):
        pytest.skip(f"{command} is not installed")
    bundle = tmp_path_factory.mktemp(command)
    subprocess.run([command, "spec"], cwd=bundle, check=True)
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["root"] = {
        "path": str(starter.paths.layer(starter.image("wharfie/starter").layers[0].diff_id)),
        "readonly": True,
    }
    config["process"] |= {"terminal": False, "args": ["/usr/bin/python3", "-I", "-c", PROBE.read_text()]}
    path.write_text(json.dumps(config))
    # crun refuses a host with controllers on both hierarchies: hide the v2 one from it, in a namespace of its own.
    hide = 'umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
    run = [command, "--root", str(bundle / "state"), "run", "--bundle", str(bundle), f"{leaks.NAME}{os.getpid()}"]
    done = subprocess.run(["unshare", "-m", "sh", "-c", hide, "sh", *run], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return command, json.loads(done.stdout.splitlines()[-1])
