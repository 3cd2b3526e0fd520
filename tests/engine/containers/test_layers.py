"""Containers of an image with many layers, by every way that this kernel takes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine import Config, Container, ContainerSpec, Engine, State
from engine.errors import KernelError
from engine.launcher import start
from engine.linux import overlayfs
from engine.storage import instance
from tests.engine.conftest import groups
from tests.engine.images.archives import docker_save, tar
from tests.images import busybox_rootfs

pytestmark = pytest.mark.own_engine  # whose launcher is another, and whose store lies deep
LAYERS = 16
DEPTH = 250  # characters of a directory's name: what mount(2) takes is a page, less than the paths of these layers
WAYS = ("attached",) if overlayfs.way() is overlayfs.attached else ("detached", "attached")
LAUNCHER = """
import sys
sys.path.insert(0, {top!r})
from engine.linux import overlayfs
overlayfs.way = lambda: overlayfs.{way}
from engine.launcher import __main__
sys.exit(__main__.main(*sys.argv[1:3], sys.argv[3] == "idle"))
"""


@pytest.fixture
def config(config: Config) -> Iterator[Config]:
    """With a store whose name is as long as names get."""
    deep = replace(config, root=config.root / ("deep" * DEPTH)[:DEPTH])
    deep.root.mkdir(mode=0o700)
    yield deep
    instance.release(instance.instance_id(deep))


@pytest.fixture(params=WAYS)
def layered(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine with the image ``many``, whose launcher knows one way."""
    program = LAUNCHER.format(top=str(Path(start.__file__).parents[2]), way=request.param)
    usual = start.command

    def command(config: Config, *, idle: bool = False) -> list[str]:
        return [sys.executable, "-I", "-S", "-c", program, *usual(config, idle=idle)[4:]]

    monkeypatch.setattr(start, "command", command)
    base = busybox_rootfs(tmp_path / "busybox.tar").read_bytes()
    uppers = [tar({f"srv/{number:02}": b"", "srv/last": f"{number:02}\n".encode()}) for number in range(1, LAYERS)]
    saved = tmp_path / "many.tar"
    saved.write_bytes(tar(docker_save([base, *uppers], "many:1")))
    engine.load_image(saved)
    return engine


def create(engine: Engine, script: str) -> Container:
    return engine.create(ContainerSpec(image="many:1", command=("sh", "-c", f"cd /srv; {script}"), user="0"))


def ended(engine: Engine, container: Container) -> list[str]:
    """Its lines, once it was started and ended well."""
    engine.start(container.id)
    assert engine.wait(container.id, timeout_s=60).code == 0
    return [line.text for line in engine.logs(container.id)]


def test_a_container_sees_every_layer_and_keeps_its_own(layered: Engine) -> None:
    names = [f"{number:02}" for number in range(1, LAYERS)]
    container = create(layered, "ls; stat -c %u * | sort -u; cat last; rm -f 01; echo own > last")
    first = [*names, "last", "0", names[-1]]
    assert ended(layered, container) == first
    assert ended(layered, container) == [*first, *names[1:], "last", "0", "own"], "started again"
    other = create(layered, "ls; mount | grep -c overlay")
    assert ended(layered, other) == [*names, "last", "1"], "nothing of the first one, and one mount"


def test_a_start_without_one_of_its_layers_says_which_and_is_undone(layered: Engine) -> None:
    container = create(layered, "true")
    layer = layered.paths.layer(layered.image("many:1").layers[LAYERS // 2].diff_id)
    aside = layer.with_name(".aside")
    layer.rename(aside)
    with pytest.raises(KernelError, match=layer.name):
        layered.start(container.id)
    assert layered.inspect(container.id).state is State.CREATED
    assert not groups(layered, container.id)
    aside.rename(layer)
    assert ended(layered, container) == []
