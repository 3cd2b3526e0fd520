"""`make install` and `make uninstall`, for real but elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import Config, Engine, State
from engine.storage.paths import Paths
from tests import disk
from tests.conftest import eventually, wait_readable
from tests.images import busybox_rootfs
from tests.leaks import instance_groups

TOP = Path(__file__).resolve().parent.parent
UNIT = (TOP / "packaging/wharfie.service").read_text()


class Installed:
    """A prefix of its own, whose settings name an instance of its own."""

    def __init__(self, top: Path, config: Config) -> None:
        self.config = config
        self.prefix, self.etc = top / "usr", top / "etc"
        self.lib = self.prefix / "lib/wharfie"
        self.command = self.prefix / "sbin/wharfie"
        (self.etc / "wharfie").mkdir(parents=True)
        settings = {"WHARFIE_ROOT": config.root, "WHARFIE_RUN": config.run, "WHARFIE_LISTEN": "127.0.0.1:0"}
        (self.etc / "wharfie/wharfie.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def make(self, *words: str) -> str:
        places = (f"PREFIX={self.prefix}", f"SYSCONFDIR={self.etc}", f"PYTHON={sys.executable}")
        done = subprocess.run(["make", *words, *places], cwd=TOP, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wharfie(self, *words: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WHARFIE_")}
        environment["WHARFIE_TEST_SESSION"] = os.environ["WHARFIE_TEST_SESSION"]
        done = subprocess.run([self.command, *words], cwd="/", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def top() -> Iterator[Path]:
    path = disk.place() / f"wharfie-t{os.environ['WHARFIE_TEST_SESSION']}-install-{os.getpid()}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def hardened(command: list[str]) -> list[str]:
    """As the unit has it started: without these capabilities."""
    dropped = re.findall(r"CAP_(\w+)", " ".join(re.findall(r"^CapabilityBoundingSet=~(.*)$", UNIT, re.MULTILINE)))
    assert dropped
    assert "NoNewPrivileges=yes" in UNIT
    bounding = ",".join(f"-{name.lower()}" for name in dropped)
    return ["setpriv", "--no-new-privs", "--bounding-set", bounding, *command]


def test_it_serves_from_where_it_was_installed_and_containers_outlive_upgrades(
    top: Path, config: Config, tmp_path: Path
) -> None:
    there = Installed(top, config)
    there.make("install")
    assert (there.lib / "engine/api.py").stat().st_uid == 0
    assert "WHARFIE_ROOT" in (there.etc / "wharfie/wharfie.env").read_text(), "settings are kept"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WHARFIE_T")}
    environment |= {"WHARFIE_TEST_SESSION": os.environ["WHARFIE_TEST_SESSION"]}
    serve = subprocess.Popen(
        hardened([str(there.command), "serve"]), cwd="/", env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert serve.stdout is not None
        assert wait_readable(serve.stdout.fileno(), 60)
        assert "listens on" in serve.stdout.readline()
        there.wharfie("images", "load", str(busybox_rootfs(tmp_path / "busybox.tar")), "--name", "busybox")
        assert there.wharfie("run", "--rm", "busybox", "echo", "from there") == "from there\n"
        assert there.wharfie("run", "--rm", "-u", "1000", "busybox", "id", "-u") == "1000\n"
        there.wharfie("run", "-d", "--name", "lasting", "busybox", "sleep", "1000")
        assert there.wharfie("exec", "lasting", "echo", "further") == "further\n"
        launcher = answering(str(Paths(config).launcher_socket))
        assert str(there.lib) in Path(f"/proc/{launcher}/cmdline").read_text()
        there.make("install")  # over itself, while it serves
        assert there.wharfie("ps", "-q").strip(), "the container did not notice"
    finally:
        serve.send_signal(signal.SIGTERM)
        serve.communicate(timeout=30)
    packages = shutil.copytree(there.lib / ".venv", top / "venv", symlinks=True)
    assert "containers and data stay" in there.make("uninstall")
    assert not there.lib.exists()
    assert not there.command.exists()
    with Engine(config) as engine:
        found = engine.inspect("lasting")
        assert found.state is State.RUNNING
        name, lasting = engine.instance, found.id
        assert instance_groups(name, lasting)
    there.lib.mkdir()
    packages.rename(there.lib / ".venv")  # an installation that is there is begun with; it takes no network then
    there.make("install")
    there.make("uninstall", "PURGE=1")
    assert not config.root.exists()
    assert not config.run.exists()
    assert not (there.etc / "wharfie").exists()
    assert [path for path in there.prefix.rglob("*") if not path.is_dir()] == []
    assert eventually(lambda: not instance_groups(name, lasting))
    for directory in (config.root, config.run):  # the fixture takes them away
        directory.mkdir(mode=0o700)


def test_an_uninstall_below_destdir_leaves_the_host_be(tmp_path: Path) -> None:
    """What a packager does, on a host that has Wharfie itself at that place."""
    stage, prefix, etc = tmp_path / "stage", tmp_path / "prefix", tmp_path / "etc"
    names = ("lib/wharfie/manage.py", "sbin/wharfie", "lib/systemd/system/wharfie.service")
    hosts = [*(prefix / name for name in names), etc / "wharfie/wharfie.env"]
    staged = [stage / path.relative_to("/") for path in hosts]
    for path in (*hosts, *staged):
        path.parent.mkdir(parents=True)
        path.touch(mode=0o755)
    environment = os.environ | {
        "PREFIX": str(prefix), "SYSCONFDIR": str(etc), "DESTDIR": str(stage), "PURGE": "1"
    }  # fmt: skip
    subprocess.run(["scripts/uninstall"], cwd=TOP, env=environment, check=True, capture_output=True)
    assert not any(path.exists() for path in staged)
    assert all(path.exists() for path in hosts)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_understands_the_unit(top: Path) -> None:
    unit = top / "wharfie.service"
    unit.write_text(
        UNIT.replace("@LIB@/.venv/bin/python", "/usr/bin/python3").replace("@LIB@", "/opt").replace("@ETC@", "/etc")
    )
    told = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert "wharfie.service" not in told.stderr, told.stderr
    assert told.returncode == 0, told.stderr


def test_the_unit_filters_no_system_call_and_has_the_hosts_mounts() -> None:
    """Each of these would reach into containers, keep the kernel from giving them a /proc, or part the command line's
    mounts from the launcher's."""
    forbidden = """
        SystemCall MemoryDeny Restrict LockPersonality Protect PrivateTmp PrivateDevices PrivateUsers PrivateMounts
        ReadOnlyPaths ReadWritePaths InaccessiblePaths BindPaths TemporaryFileSystem DynamicUser RootDirectory
    """
    settings = [line.partition("=")[0] for line in UNIT.splitlines() if "=" in line and not line.startswith("#")]
    assert [name for name in settings if name.startswith(tuple(forbidden.split()))] == []
    assert "KillMode=process" in UNIT
    assert "Delegate=yes" in UNIT
