"""A clone has what the original had at that moment, and is its own from then on; one that fails leaves nothing."""

from __future__ import annotations

import pytest

from engine import Caller, ContainerSpec, Engine, ExecSpec, NetworkMode, Role, State, VolumeMount
from engine.errors import AlreadyExists, Denied, EngineError
from engine.volumes.store import VolumeStore
from tests.engine.faults.injection import Actor

pytestmark = pytest.mark.one_engine

SETUP = "echo file > /made; rm /etc/group; chown 1000:1000 /data; chmod 750 /data; echo in > /data/note; sleep 1000"
LOOK = "cat /made /data/note; stat -c '%u:%g %a' /data; test -e /etc/group && echo kept; true"


def source(dock: Engine) -> str:
    dock.create_volume("cargo")
    spec = ContainerSpec(
        image="busybox", name="web", command=("sh", "-c", SETUP), env=("A=1",), labels={"team": "x"},
        volumes=(VolumeMount("cargo", "/data"),),
    )  # fmt: skip
    made = dock.start(dock.create(spec).id)
    while said(dock, made.id, "cat /data/note") != "in\n":
        continue
    return made.id


def said(dock: Engine, ref: str, command: str) -> str:
    with dock.exec(ref, ExecSpec(("sh", "-c", command), stdin=False)) as execution:
        return execution.output()[1].decode()


@pytest.mark.parametrize("running", [True, False])
def test_a_clone_has_files_and_volumes_of_its_own(dock: Engine, running: bool) -> None:
    web = source(dock)
    if not running:
        dock.stop(web, timeout_s=0)
    dock.clone("web", "twin")
    assert dock.inspect("web").state is (State.RUNNING if running else State.EXITED), "as it was before"
    twin = dock.inspect("twin")
    assert twin.state is State.CREATED
    assert [mount.volume for mount in twin.spec.volumes] == ["twin-cargo"]
    assert (twin.spec.labels, "A=1" in twin.spec.env) == ({"team": "x"}, True)
    note = dock.paths.volume("twin-cargo") / "note"
    note.write_text("mine\n")
    assert (dock.paths.volume("cargo") / "note").read_text() == "in\n"
    dock.remove("twin")
    look = ContainerSpec(image=twin.image, command=("sh", "-c", LOOK), volumes=twin.spec.volumes)
    seen = dock.start(dock.create(look).id)
    dock.wait(seen.id, timeout_s=30)
    assert [line.text for line in dock.logs(seen.id)] == ["file", "mine", "1000:1000 750"]


def test_a_clone_that_fails_leaves_nothing(dock: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    web = source(dock)
    images, volumes = len(dock.images()), [volume.name for volume in dock.volumes()]

    def broken(*_: object, **__: object) -> None:
        raise AlreadyExists("no more room")

    monkeypatch.setattr(dock, "create", broken)
    with pytest.raises(EngineError, match="no more room"):
        dock.clone("web", "twin")
    monkeypatch.undo()
    monkeypatch.setattr(VolumeStore, "create", broken)
    with pytest.raises(EngineError):
        dock.clone("web", "twin")
    assert len(dock.images()) == images
    assert [volume.name for volume in dock.volumes()] == volumes
    assert [(each.id, each.state) for each in dock.containers()] == [(web, State.RUNNING)]


def test_what_may_not_be_is_refused_before_anything_is_copied(dock: Engine) -> None:
    source(dock)
    with pytest.raises(AlreadyExists):
        dock.clone("web", "web")
    spec = ContainerSpec(image="busybox", name="host", command=("true",), network=NetworkMode.HOST)
    dock.create(spec)
    with pytest.raises(Denied):
        dock.clone("host", "twin", caller=Caller(Role.MEMBER, "mate"))
    assert len(dock.images()) == 1


class Enough(Exception):
    """Somebody does not want it any more."""


def left(dock: Engine) -> tuple[int, list[str], list[tuple[str, State]], list[str]]:
    """What there is, and what is noted of deeds that are not done."""
    containers = sorted((each.name, each.state) for each in dock.containers())
    notes = [path.name for path in dock.paths.tmp.iterdir()]
    return len(dock.images()), [volume.name for volume in dock.volumes()], containers, notes


STEPS = ("Reading what", "Measuring", "Unpacking", "Writing the image", "Copying volume", "Creating")


@pytest.mark.parametrize("at", STEPS)
def test_what_its_progress_raises_ends_it_and_nothing_is_left(
    dock: Engine, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr("engine.archives.streams.SAID_S", 0.0)
    source(dock)
    before = left(dock)

    def say(text: str) -> None:
        if text.startswith(at):
            raise Enough

    with pytest.raises(Enough):
        dock.clone("web", "twin", progress=say)
    assert left(dock) == before


@pytest.mark.parametrize("at", ["Writing the image", "Copying volume", "Creating"])
def test_a_clone_that_is_killed_leaves_nothing_once_the_console_has_started(dock: Engine, at: str) -> None:
    web = source(dock)
    before = left(dock)
    killing = f"lambda text: text.startswith({at!r}) and __import__('os').kill(__import__('os').getpid(), 9)"
    with Actor(dock) as actor:
        answer, _struck = actor.act(f"engine.clone('web', 'twin', key='deed', progress={killing})")
    assert answer == {"killed": 9}
    assert left(dock) != before
    dock.tidy()
    assert left(dock) == before
    twin = dock.clone("web", "twin", key="deed")
    assert dock.clone("web", "twin", key="deed").id == twin.id, "it is done already"
    with pytest.raises(AlreadyExists):
        dock.clone("web", "twin", key="other")
    dock.tidy()
    assert [volume.name for volume in dock.volumes()] == ["cargo", "twin-cargo"]
    assert dock.inspect(web).state is State.RUNNING


def test_a_volume_of_the_same_name_that_somebody_made_since_stays(dock: Engine) -> None:
    source(dock)
    killing = "lambda text: text.startswith('Creating') and __import__('os').kill(__import__('os').getpid(), 9)"
    with Actor(dock) as actor:
        actor.act(f"engine.clone('web', 'twin', progress={killing})")
    dock.remove_volume("twin-cargo")
    dock.create_volume("twin-cargo")
    dock.tidy()
    assert [volume.name for volume in dock.volumes()] == ["cargo", "twin-cargo"]
