"""Run the probe: under Wharfie, and under a peer with the peer's own default configuration."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import (
    Config,
    Container,
    ContainerSpec,
    Engine,
    ExecSpec,
    HealthCheck,
    HealthResult,
    RestartMode,
    RestartPolicy,
)
from engine.storage import instance
from tests import conftest, disk, leaks
from tests.engine import killing
from tests.engine.isolation.rows import Facts

PROBE = Path(__file__).with_name("probe.py")
PEERS = ("crun", "runc")
COMMAND = ("/usr/bin/python3", "-I", "-c", PROBE.read_text())
STAYING = (*COMMAND, "", "1000")
SLEEP = ("sleep", "1000")
ALWAYS = RestartPolicy(RestartMode.ALWAYS)


@contextmanager
def starter() -> Iterator[Engine]:
    """An engine of its own with the starter image, whose python3 runs the probe; nothing is left of it."""
    name = f"{leaks.NAME}{leaks.session()}-{os.getpid()}-isolation"
    config = Config(root=disk.place() / name, run=Path("/run") / name)
    with Engine(config, spawn_launcher=True) as engine:
        try:
            engine.make_starter_image()
            yield engine
        finally:
            for container in engine.containers():
                engine.remove(container.id, force=True)
            conftest.stop_launcher(config)
            instance.release(instance.instance_id(config))
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


def way_in(engine: Engine, way: str) -> Facts:
    """What the probe finds on one of the ways into a container (`rows.WAYS`)."""
    facts: Facts = json.loads(_WAYS[way](engine))
    return facts


@contextmanager
def running(engine: Engine, command: tuple[str, ...], **options: Any) -> Iterator[Container]:
    """A container that runs, and is gone afterwards."""
    container = engine.create(ContainerSpec(image="wharfie/starter", command=command, **options))
    try:
        yield engine.start(container.id)
    finally:
        engine.remove(container.id, force=True)


def _told(engine: Engine, container: Container, runs: int) -> str:
    """The probe's line in the log, of this run of it."""

    def lines() -> list[str]:
        return [line.text for line in engine.logs(container.id)]

    assert conftest.eventually(lambda: len(lines()) >= runs, timeout_s=60), lines()
    return lines()[runs - 1]


def _started_in_a_terminal(engine: Engine) -> str:
    with running(engine, COMMAND, tty=True) as container:
        return _told(engine, container, 1)


def _started_with_an_init(engine: Engine) -> str:
    with running(engine, COMMAND, init=True) as container:
        return _told(engine, container, 1)


def _restarted(engine: Engine) -> str:
    with running(engine, COMMAND) as container:
        _told(engine, container, 1)
        engine.restart(container.id)
        return _told(engine, container, 2)


def _restarted_by_its_policy(engine: Engine) -> str:
    with running(engine, COMMAND, restart=ALWAYS) as container:
        return _told(engine, container, 2)


def _restarted_by_a_new_shim(engine: Engine) -> str:
    with running(engine, STAYING, restart=ALWAYS) as container:
        _told(engine, container, 1)
        _kill_its_shim(engine, container)
        assert container.pid
        killing.kill(container.pid)
        return _told(engine, container, 2)


def _started_after_a_reboot(engine: Engine) -> str:
    with running(engine, STAYING, restart=ALWAYS) as container:
        _told(engine, container, 1)
        killing.fall(engine, [container])
        engine.revive()
        return _told(engine, container, 2)


def entered(engine: Engine, *, privileged: bool = False, toolbox: bool = False, **options: Any) -> Facts:
    """What the probe finds as a further command of a running container with these options."""
    with running(engine, SLEEP, **options) as container:
        facts: Facts = json.loads(_executed(engine, container, privileged=privileged, toolbox=toolbox))
        return facts | {"uid_base": container.uid_base}


def _exec(engine: Engine) -> str:
    with running(engine, SLEEP) as container:
        return _executed(engine, container)


def _exec_through_a_new_shim(engine: Engine) -> str:
    with running(engine, SLEEP) as container:
        _kill_its_shim(engine, container)
        return _executed(engine, container)


def _executed(engine: Engine, container: Container, **options: Any) -> str:
    with engine.exec(container.id, ExecSpec(COMMAND, workdir="/", **options)) as execution:
        code, shown, errors = execution.output(timeout_s=60)
    assert code == 0, errors
    return shown.decode()


def _toolbox(engine: Engine) -> str:
    with running(engine, SLEEP) as container:
        return _executed(engine, container, toolbox=True)


def _exec_in_a_terminal(engine: Engine, **options: Any) -> str:
    with running(engine, SLEEP) as container:
        terminal = engine.terminal(container.id, ExecSpec(COMMAND, workdir="/", **options))
        shown = b""
        while data := terminal.read():
            shown += data
        terminal.close()
        assert terminal.exit_code == 0, shown
        return shown.decode()


def _health_check(engine: Engine) -> str:
    """By a file: of what a check writes, 4,096 bytes are kept."""
    check = HealthCheck((*COMMAND, "/found"), interval_s=0.1, timeout_s=60)
    with running(engine, SLEEP, health=check) as container:

        def results() -> tuple[HealthResult, ...]:
            health = engine.inspect(container.id).health
            return health.results if health else ()

        assert conftest.eventually(results, timeout_s=60)
        assert results()[0].code == 0, results()
        with engine.exec(container.id, ExecSpec(("cat", "/found"))) as execution:
            return execution.output(timeout_s=60)[1].decode()


def _kill_its_shim(engine: Engine, container: Container) -> None:
    shim = killing.shim(engine, container)
    killing.kill(shim)
    assert killing.adopted(engine, container, shim)


_WAYS: dict[str, Callable[[Engine], str]] = {
    "started in a terminal": _started_in_a_terminal,
    "started with an init": _started_with_an_init,
    "restarted": _restarted,
    "restarted by its policy": _restarted_by_its_policy,
    "restarted by a new shim": _restarted_by_a_new_shim,
    "started after a reboot": _started_after_a_reboot,
    "exec": _exec,
    "exec in a terminal": _exec_in_a_terminal,
    "exec through a new shim": _exec_through_a_new_shim,
    "toolbox": _toolbox,
    "toolbox in a terminal": functools.partial(_exec_in_a_terminal, toolbox=True),
    "health check": _health_check,
}


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
