"""The leak check around the whole run, and the fixtures that every test may use."""

from __future__ import annotations

import itertools
import os
import secrets
import select
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from django.conf import settings

from console.supervisor import answering
from engine.config import Config
from engine.storage.paths import Paths
from tests import disk, leaks

if TYPE_CHECKING:
    from engine import Engine

pytest_plugins = ("tests.grounds",)
_numbers = itertools.count(1)
_seen_last: dict[str, str] = {}  # instances that had control groups at the end of a test, and of which
SHOWN = 60  # leaks listed; a container alone makes twenty


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """No test signs with the key of an instance that this host may have, nor makes one there."""
    settings.SECRET_KEY = secrets.token_urlsafe(64)
    if not _is_worker(config) and not config.option.collectonly:
        disk.mount()
        config.stash[MOUNTED] = True
        if config.option.basetemp is None and disk.place() != disk.PARENT:
            config.option.basetemp = str(disk.place() / "pytest")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The last of all. Who only collects, for a run that goes on, has none to take away."""
    if config.stash.get(MOUNTED, False):
        disk.unmount()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Look at the host before the first worker starts; at the own descriptors in each process."""
    leaks.session()
    session.config.stash[DESCRIPTORS] = leaks.descriptors()
    if not _is_worker(session.config):
        session.config.stash[BEFORE] = leaks.host()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest first, guests before all: workers take a file each, and small ones fill the end."""
    items.sort(key=lambda item: next((place for place, path in enumerate(LONG) if path in item.nodeid), len(LONG)))


LONG = (
    "tests/uml/", "tests/test_lint", "tests/browser/test_every", "tests/browser/", "tests/engine/faults/test_acts",
    "tests/test_install",
)  # fmt: skip
MOUNTED = pytest.StashKey[bool]()
DESCRIPTORS = pytest.StashKey[set[str]]()
BEFORE = pytest.StashKey[leaks.Snapshot]()
FOUND = pytest.StashKey[list[str]]()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Compare once everything else of the session, xdist's workers included, has ended."""
    yield
    config = session.config
    found = config.stash.setdefault(FOUND, [])
    if _is_worker(config):
        before = {"descriptor": config.stash[DESCRIPTORS]}
        config.workeroutput["leaks"] = leaks.remaining(before, lambda: {"descriptor": leaks.descriptors()})
        config.workeroutput["seen last"] = _seen_last
        return
    if not config.getoption("numprocesses", None):
        before = {"descriptor": config.stash[DESCRIPTORS]}
        found += leaks.remaining(before, lambda: {"descriptor": leaks.descriptors()})
    found += leaks.remaining(config.stash[BEFORE])
    if found:
        found += [f"({name} is of {test})" for name, test in _seen_last.items() if any(name in line for line in found)]
        rest = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        # As a failed test it is counted in the closing line and listed above it.
        report = pytest.TestReport(
            nodeid="the leak check",
            location=("tests/conftest.py", None, "the leak check"),
            keywords={},
            outcome="failed",
            longrepr="\n  ".join(["The run left behind:", *found[:SHOWN], *rest]),
            when="teardown",
        )
        config.hook.pytest_runtest_logreport(report=report)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    """Take over what an xdist worker found in itself."""
    output = getattr(node, "workeroutput", {})
    node.config.stash.setdefault(FOUND, []).extend(output.get("leaks", ()))  # type: ignore[attr-defined]
    _seen_last.update(output.get("seen last", {}))


def pytest_addoption(parser: pytest.Parser) -> None:
    """For a guest, where an engine takes seconds to begin and to end."""
    parser.addoption("--one-engine", action="store_true", help="as if each test were marked one_engine")


def shares(request: pytest.FixtureRequest) -> bool:
    """Whether a test shares its engine with others of its module."""
    wanted = request.config.getoption("one_engine") or request.node.get_closest_marker("one_engine")
    return bool(wanted) and not request.node.get_closest_marker("own_engine")


@contextmanager
def new_config() -> Iterator[Config]:
    """An instance: WHARFIE_ROOT on a real file system (no upper lies on overlayfs), a short WHARFIE_RUN."""
    name = f"{leaks.NAME}{leaks.session()}-{os.getpid()}-{next(_numbers)}"
    config = Config(root=disk.place() / name, run=Path("/run") / name)
    for directory in (config.root, config.run):
        directory.mkdir(mode=0o700)
    yield config
    paths = Paths(config)
    if any(paths.shims.glob("*.json")):  # a test that failed half way: no container of it may disturb the next one
        from engine import Engine

        with Engine(config, spawn_launcher=True) as engine:
            for container in engine.containers():
                engine.remove(container.id, force=True)
        stop_launcher(config)
    if paths.instance.exists():  # its claim is void without its store, but only the next claim would see that
        instance = paths.instance.read_text()
        (leaks.UID_CLAIMS / instance).unlink(missing_ok=True)
        # Whoever is just ending takes them away, and a lock of ours for that.
        if not eventually(lambda: not leaks.instance_groups(instance)):
            _seen_last[instance] = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    for directory in (config.root, config.run):
        shutil.rmtree(directory)


@contextmanager
def new_engine(config: Config) -> Iterator[Engine]:
    """An engine with a launcher of its own; all that it made is gone afterwards."""
    from engine import Engine

    with Engine(config, spawn_launcher=True) as engine:
        yield engine
        for container in engine.containers():
            engine.remove(container.id, force=True)
    stop_launcher(config)


def _together(fixture_name: str, config: pytest.Config) -> Literal["module", "session"]:
    """How many share an engine: in a guest all."""
    return "session" if config.getoption("one_engine") else "module"


@pytest.fixture(scope=_together)
def modules_engine() -> Iterator[Engine]:
    """One for all tests of a module that share it."""
    with new_config() as config, new_engine(config) as engine:
        yield engine


@pytest.fixture(scope=_together)
def kept_images() -> set[str]:
    """The ids of those that stay in it."""
    return set()


@pytest.fixture
def config(request: pytest.FixtureRequest) -> Iterator[Config]:
    """An instance of the test's own, or that of its module."""
    if shares(request):
        yield request.getfixturevalue("modules_engine").config
        return
    with new_config() as config:
        yield config


@pytest.fixture
def engine(request: pytest.FixtureRequest, config: Config, kept_images: set[str]) -> Iterator[Engine]:
    """An engine of the test's own, or that of its module: what one test makes is not there in the next."""
    if not shares(request):
        with new_engine(config) as engine:
            yield engine
        return
    engine = request.getfixturevalue("modules_engine")
    yield engine
    empty(engine, kept_images)


def empty(engine: Engine, kept_images: Collection[str] = ()) -> None:
    """Remove all that is in it."""
    for container in engine.containers():
        engine.remove(container.id, force=True)
    for volume in engine.volumes():
        engine.remove_volume(volume.name)
    for image in engine.images():
        if image.id not in kept_images:
            engine.remove_image(image.id, force=True)
    (engine.paths.containers / ".lock").unlink(missing_ok=True)  # of who found that a container was just removed


def stop_launcher(config: Config) -> None:
    """End the instance's launcher, if there is one, and wait until it is gone."""
    path = str(Paths(config).launcher_socket)
    assert eventually(lambda: not (pid := answering(path)) or name_of(pid)), "the spare of a killed one still listens"
    pid = answering(path)
    if pid:
        # It forks for each caller, this one too; while a child is left it believes that a container may run.
        assert eventually(lambda: not shims(pid)), "a shim outlives its container"
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            assert wait_readable(pidfd, timeout_s=10), "the launcher did not end"
        finally:
            os.close(pidfd)


def shims(launcher: int | None) -> list[int]:
    """A launcher's children without its spare and its keeper; and the keeper's: shims that replaced killed ones."""
    named = [(pid, name_of(pid)) for pid in children(launcher)]
    found = [pid for pid, name in named if name not in ("wharfie-spare", "wharfie-keeper")]
    return found + [child for pid, name in named if name == "wharfie-keeper" for child in children(pid)]


def children(pid: int | None) -> list[int]:
    """The children of a process with one thread; none when it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def name_of(pid: int) -> str:
    """What ps(1) calls a process; "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def stand_still(*pids: int) -> None:
    """SIGSTOP; on return these processes, of one thread each, stand still, or are gone: one that runs heeds a signal
    only in a moment."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        assert eventually(lambda pid=pid: leaks.state(pid) in ("T", "t", "Z", "X", "")), f"{pid} goes on"


def wait_readable(fd: int, timeout_s: float) -> bool:
    """Whether a descriptor becomes readable in time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def eventually(condition: Callable[[], object], timeout_s: float = 10) -> bool:
    """Whether something becomes true in time, for what nothing announces. Looks often and returns at once."""
    until_s = time.monotonic() + timeout_s
    pause = threading.Event()  # never set: its wait is the pause between two looks
    while not condition():
        if time.monotonic() > until_s:
            return False
        pause.wait(0.02)
    return True
