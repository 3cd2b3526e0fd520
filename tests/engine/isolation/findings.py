"""Run the probe: under Wharfie, and under a peer with the peer's own default configuration."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import Config, ContainerSpec, Engine, ExecSpec
from engine.storage import instance
from tests import conftest, leaks
from tests.engine.isolation.rows import Facts

PROBE = Path(__file__).with_name("probe.py")
PEERS = ("crun", "runc")
COMMAND = ("/usr/bin/python3", "-I", "-c", PROBE.read_text())


@contextmanager
def starter() -> Iterator[Engine]:
    """An engine of its own with the starter image, whose python3 runs the probe; nothing is left of it."""
    name = f"{leaks.NAME}{leaks.session()}-{os.getpid()}-isolation"
    config = Config(root=Path("/var/tmp") / name, run=Path("/run") / name)
    with Engine(config, spawn_launcher=True) as engine:
        try:
            engine.make_starter_image()
            yield engine
        finally:
            for container in engine.containers():
                engine.remove(container.id, force=True)
            conftest.stop_launcher(config)
            instance.release(config)
    shutil.rmtree(config.root)
    shutil.rmtree(config.run)


def probe(engine: Engine, **options: Any) -> Facts:
    """What the probe finds in a container of Wharfie."""
    container = engine.create(ContainerSpec(image="wharfie/starter", command=COMMAND, **options))
    try:
        engine.start(container.id)
        ended = engine.wait(container.id, timeout_s=60)
        lines = [line.text for line in engine.logs(container.id)]
        if ended.code != 0:
            raise AssertionError("\n".join(lines))
        facts: Facts = json.loads(lines[-1])
        return facts | {"uid_base": container.uid_base}
    finally:
        engine.remove(container.id, force=True)


def entered(engine: Engine, *, tty: bool = False, privileged: bool = False, **options: Any) -> Facts:
    """What the probe finds as a further command of a running container; with ``tty`` in a terminal of its own."""
    container = engine.create(ContainerSpec(image="wharfie/starter", command=("sleep", "1000"), **options))
    wish = ExecSpec(COMMAND, privileged=privileged)
    try:
        engine.start(container.id)
        if tty:
            terminal = engine.terminal(container.id, wish)
            shown = b""
            while data := terminal.read():
                shown += data
            code = terminal.exit_code
            terminal.close()
        else:
            with engine.exec(container.id, wish) as execution:
                code, shown, errors = execution.output(timeout_s=60)
                shown = shown or errors
        if code != 0:
            raise AssertionError(shown.decode(errors="replace"))
        facts: Facts = json.loads(shown.splitlines()[-1])
        return facts | {"uid_base": container.uid_base}
    finally:
        engine.remove(container.id, force=True)


def restarted(engine: Engine) -> Facts:
    """What the probe finds in the second run of a container."""
    container = engine.create(ContainerSpec(image="wharfie/starter", command=COMMAND))
    try:
        for _ in range(2):
            engine.start(container.id)
            assert engine.wait(container.id, timeout_s=60).code == 0
        facts: Facts = json.loads([line.text for line in engine.logs(container.id)][-1])
        return facts | {"uid_base": container.uid_base}
    finally:
        engine.remove(container.id, force=True)


def peer(command: str, engine: Engine, bundle: Path) -> Facts:
    """What the same probe finds in a container of ``crun`` or ``runc``, made as its ``spec`` command says."""
    subprocess.run([command, "spec"], cwd=bundle, check=True)
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    layer = engine.paths.layer(engine.image("wharfie/starter").layers[0].diff_id)
    config["root"] = {"path": str(layer), "readonly": True}
    config["process"] |= {"terminal": False, "args": COMMAND}
    path.write_text(json.dumps(config))
    # crun refuses a host with controllers on both hierarchies: hide the v2 one from it, in a namespace of its own.
    hide = 'umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
    run = [command, "--root", str(bundle / "state"), "run", "--bundle", str(bundle), f"{leaks.NAME}{os.getpid()}"]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", hide, "sh", *run], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    facts: Facts = json.loads(done.stdout.splitlines()[-1])
    return facts
