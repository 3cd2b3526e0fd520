"""Each act of the engine, with each kind of its system calls failing or being its last (F3, F4).

Afterwards there is the old state or the new, no mix of both; nothing is left over once the console has started again;
and the same act works, or says that it has been done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engine import ContainerSpec, Engine, Limits, State
from engine.storage import instance
from tests.conftest import eventually
from tests.engine.conftest import groups
from tests.engine.faults.injection import KILL, Actor, error
from tests.images import busybox_rootfs
from tests.soak import amount

CALLS = (
    "openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "mkdir", "mkdirat", "unlink", "unlinkat", "rmdir",
    "chown", "fchmod", "flock", "getdents64", "ftruncate", "socket", "connect", "sendto",
)  # fmt: skip
ERRORS = ("EIO", "ENOSPC", "EMFILE", "EROFS", "EINTR")  # the last is no error: a call is made again


class Act(NamedTuple):
    """Something to do in another process, from a state in which it can be done."""

    expression: str
    before: Callable[[Engine, Path], object]
    done: Callable[[Engine], bool]


def no_container(dock: Engine, _archive: Path) -> None:
    for container in dock.containers():
        dock.remove(container.id, force=True)


def one_container(dock: Engine, archive: Path) -> None:
    no_container(dock, archive)
    dock.create(ContainerSpec(image="busybox", command=("sleep", "1000"), name="subject"))


def one_running(dock: Engine, archive: Path) -> None:
    if not [container for container in dock.containers() if container.state is State.RUNNING]:
        one_container(dock, archive)
        dock.start("subject")


def one_with_other_limits(dock: Engine, archive: Path) -> None:
    one_running(dock, archive)
    dock.update("subject", Limits(pids=78))


def one_paused(dock: Engine, archive: Path) -> None:
    if state_of(dock) is not State.PAUSED:
        one_running(dock, archive)
        dock.pause("subject")


FIRST: dict[str, int | None] = {}  # the pid of the run that an act is to end


def a_first_run(dock: Engine, archive: Path) -> None:
    one_running(dock, archive)
    FIRST["pid"] = dock.inspect("subject").pid


def uncommitted(dock: Engine, archive: Path) -> None:
    one_container(dock, archive)
    if tagged(dock, "committed"):
        dock.remove_image("committed")


def no_volume(dock: Engine, _archive: Path) -> None:
    for volume in dock.volumes():
        dock.remove_volume(volume.name)


def one_volume(dock: Engine, archive: Path) -> None:
    no_volume(dock, archive)
    dock.create_volume("subject")
    (dock.paths.volume("subject") / "file").write_text("data")


def no_second_image(dock: Engine, _archive: Path) -> None:
    for image in dock.images():
        if "second:latest" in str(image.tags):
            dock.remove_image("second")


def second_image(dock: Engine, archive: Path) -> None:
    dock.load_image(archive, name="second")


def state_of(dock: Engine) -> State | None:
    found = [container.state for container in dock.containers() if container.name in ("subject", "renamed")]
    return found[0] if found else None


def tagged(dock: Engine, name: str) -> bool:
    return any(name in tag for image in dock.images() for tag in image.tags)


def second(dock: Engine) -> bool:
    return tagged(dock, "second")


ACTS = {
    "create": Act(
        "engine.create(ContainerSpec(image='busybox', command=('true',), name='subject'))",
        no_container,
        lambda dock: state_of(dock) is not None,
    ),
    "remove": Act("engine.remove('subject')", one_container, lambda dock: state_of(dock) is None),
    "rename": Act(
        "engine.rename('subject', 'renamed')",
        one_container,
        lambda dock: [container.name for container in dock.containers()] == ["renamed"],
    ),
    "start": Act("engine.start('subject')", one_container, lambda dock: state_of(dock) is State.RUNNING),
    "update": Act(
        "engine.update('subject', Limits(pids=77))",
        one_with_other_limits,
        lambda dock: dock.inspect("subject").spec.limits.pids == 77,
    ),
    "pause": Act("engine.pause('subject')", one_running, lambda dock: state_of(dock) is State.PAUSED),
    "stop": Act("engine.stop('subject', 0)", one_running, lambda dock: state_of(dock) is State.EXITED),
    "unpause": Act("engine.unpause('subject')", one_paused, lambda dock: state_of(dock) is State.RUNNING),
    "restart": Act(
        "engine.restart('subject', 0)",
        a_first_run,
        lambda dock: dock.inspect("subject").pid not in (None, FIRST["pid"]),
    ),
    "commit": Act(
        "engine.commit('subject', CommitSpec(name='committed'))",
        uncommitted,
        lambda dock: tagged(dock, "committed"),
    ),
    "create a volume": Act("engine.create_volume('subject')", no_volume, lambda dock: bool(dock.volumes())),
    "remove a volume": Act("engine.remove_volume('subject')", one_volume, lambda dock: not dock.volumes()),
    "load": Act("engine.load_image(Path({archive!r}), name='second')", no_second_image, second),
    "remove an image": Act("engine.remove_image('second')", second_image, lambda dock: not second(dock)),
    "tidy": Act("engine.tidy()", no_container, lambda _dock: True),
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A root file system that is not that of the image ``busybox``."""
    return busybox_rootfs(tmp_path / "second.tar", second="of its own\n")


@pytest.fixture
def actor(dock: Engine) -> Iterator[Actor]:
    up = dock.create(ContainerSpec(image="busybox", command=("true",)))
    dock.start(up.id)  # the launcher is up
    dock.wait(up.id, timeout_s=10)
    dock.remove(up.id)
    with Actor(dock) as actor:
        yield actor


def assert_whole(dock: Engine) -> None:
    """Rows and directories tell the same, and nothing is being written or deleted."""
    dock.tidy()
    ids = {container.id for container in dock.containers()}
    assert set(os.listdir(dock.paths.containers)) - {".lock"} == ids
    assert set(os.listdir(dock.paths.volumes)) == {volume.name for volume in dock.volumes()}
    layers = {layer.diff_id.removeprefix("sha256:") for image in dock.images() for layer in image.layers}
    assert set(os.listdir(dock.paths.layers)) - {".lock"} == layers
    assert eventually(lambda: not os.listdir(dock.paths.trash)), "what is removed is deleted soon"
    assert os.listdir(dock.paths.tmp) == []
    assert not list(dock.paths.root.glob(".*.*")), "nothing half written"
    assert not list(instance.CLAIMS.glob(f".{dock.instance}.*"))
    running = {container.id for container in dock.containers() if container.state.alive}
    # A shim gives up its file system after it has told how its container ended.
    assert eventually(lambda: {path.name.split(".")[0] for path in dock.paths.shims.iterdir()} <= running)
    for container in dock.containers():
        assert bool(groups(dock, container.id)) is container.state.alive
        assert container.state is not State.BROKEN


@pytest.mark.parametrize("fault", ["error", "kill"])
@pytest.mark.parametrize("name", ACTS)
def test_an_act_that_is_hit(dock: Engine, actor: Actor, archive: Path, name: str, fault: str) -> None:
    act = ACTS[name]
    expression = act.expression.format(archive=str(archive)) if "{archive" in act.expression else act.expression
    act.before(dock, archive)
    made = actor.counted(expression, CALLS)
    points = 0
    hit = set()
    for call in made:
        number = 1
        while number <= amount(made[call], 10 * made[call]):
            act.before(dock, archive)
            was_done = act.done(dock)
            what = KILL if fault == "kill" else error(ERRORS[(points + number) % len(ERRORS)])
            answer, struck = actor.act(expression, call, number, what)
            if not struck:  # it needs no more of them, or fewer this time
                break
            points += 1
            hit.add(call)
            where = (call, number, what, answer)
            assert "raw" not in answer, where
            assert_whole(dock)
            if answer == {}:
                assert act.done(dock), where
            elif "error" in answer and not act.done(dock):
                assert was_done is False, where
                assert answer["error"]["hint"] or answer["error"]["message"], where
            if not act.done(dock):
                again, _ = actor.act(expression)
                assert again == {}, (where, again)
                assert act.done(dock), where
                assert_whole(dock)
            number += amount(3 * number, 1)
    assert len(hit) >= len(made) * 3 / 4, "of some it may need fewer the next time"
    assert len(hit) > (0 if name == "tidy" else 3)
