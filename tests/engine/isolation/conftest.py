"""The probe's findings, made once a session; and their table at the end of the run that made them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Engine
from tests import leaks
from tests.engine.archives.tars import snapshot
from tests.engine.isolation import findings, table
from tests.engine.isolation.rows import STARTED, WAYS, Facts

FOUND = pytest.StashKey[dict[str, Facts]]()


SECRET = "the host's own, and nobody else's"


@pytest.fixture
def victim() -> Iterator[Path]:
    """A directory of the host, open to everybody: only that nobody gets there keeps it. Proof that nothing in it or
    about it has changed, and that nothing is mounted there."""
    made = Path(tempfile.mkdtemp(prefix=f"{leaks.NAME}{leaks.session()}-", dir="/var/tmp"))
    (made / "below").mkdir()
    for path in (made / "secret", made / "below" / "file"):
        path.write_text(SECRET)
        path.chmod(0o666)
    for path in (made, made / "below"):
        path.chmod(0o777)
    before = snapshot(made)
    yield made
    mounted = str(made) in Path("/proc/self/mountinfo").read_text()
    after = snapshot(made)
    shutil.rmtree(made)
    assert after == before
    assert not mounted, "nothing is mounted there"


@pytest.fixture(scope="session")
def starter() -> Iterator[Engine]:
    """An engine with the starter image."""
    with findings.starter() as engine:
        yield engine


@pytest.fixture(scope="session")
def facts(starter: Engine, pytestconfig: pytest.Config) -> Facts:
    """What the probe finds with everything at its default."""
    found = findings.probe(starter)
    pytestconfig.stash.setdefault(FOUND, {})["wharfie"] = found
    return found


@pytest.fixture(scope="session", params=WAYS)
def way_in(request: pytest.FixtureRequest, starter: Engine, facts: Facts) -> tuple[str, Facts]:
    """The same for every way into a container."""
    way = str(request.param)
    return way, facts if way == STARTED else findings.way_in(starter, way)


@pytest.fixture(scope="session", params=findings.PEERS)
def peer(
    request: pytest.FixtureRequest, starter: Engine, facts: Facts, tmp_path_factory: pytest.TempPathFactory
) -> Facts:
    """The same under a peer with its own default configuration."""
    command = str(request.param)
    found = findings.peer(command, starter, tmp_path_factory.mktemp(command))
    request.config.stash[FOUND][command] = found
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table; a run in several processes leaves it to docs/isolation.md."""
    found = config.stash.get(FOUND, {})
    if len(found) > 1:
        terminalreporter.section("isolation, from inside")
        for line in table.plain(found):
            terminalreporter.write_line(line)
