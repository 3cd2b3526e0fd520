"""The leak check catches what it promises to catch: each kind is leaked on purpose."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import leaks


@contextmanager
def sleeper(*prefix: str, mark: str = "") -> Iterator[int]:
    """A process that waits for its standard input to end, started through ``prefix``; yields its pid."""
    command = [*prefix, sys.executable, "-c", "import sys\nprint(1, flush=True)\nsys.stdin.read()", mark]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.communicate()


def found_since(before: leaks.Snapshot) -> list[str]:
    """New lines, without patience."""
    return leaks.remaining(before, patience_s=0)


@pytest.fixture
def before() -> leaks.Snapshot:
    return leaks.host()


def named(suffix: str = "leak") -> str:
    return f"{leaks.NAME}{leaks.session()}-{os.getpid()}-{suffix}"


def test_a_process_is_seen(before: leaks.Snapshot) -> None:
    with sleeper(mark="engine/launcher/__main__.py") as pid:
        assert any(line.startswith(f"process: {pid}:") for line in found_since(before))


def test_a_namespace_is_seen(before: leaks.Snapshot) -> None:
    with sleeper("unshare", "--uts") as pid:
        assert f"namespace: {os.readlink(f'/proc/{pid}/ns/uts')}" in found_since(before)


def hierarchy() -> Path:
    """The top of one of the control groups' hierarchies, if not of the only one."""
    return next(path for path in (leaks.CGROUPS, *leaks.CGROUPS.iterdir()) if (path / "cgroup.procs").exists())


def test_a_cgroup_is_seen_in_a_hierarchy(before: leaks.Snapshot) -> None:
    group = hierarchy() / named()
    group.mkdir()
    try:
        assert f"cgroup: {group}" in found_since(before)
    finally:
        group.rmdir()


def test_a_mount_is_seen(before: leaks.Snapshot, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "leaked", tmp_path], check=True)
    try:
        assert any(line.startswith("mount: ") and str(tmp_path) in line for line in found_since(before))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("directory", leaks.TEMPORARY)
def test_a_file_is_seen(before: leaks.Snapshot, directory: str) -> None:
    path = Path(directory) / named()
    path.touch()
    try:
        assert f"file: {path}" in found_since(before)
    finally:
        path.unlink()


def test_a_network_link_is_seen(before: leaks.Snapshot) -> None:
    link = f"wt{os.getpid()}"
    subprocess.run(["ip", "link", "add", link, "type", "veth"], check=True)
    try:
        assert f"network link: /sys/class/net/{link}" in found_since(before)
    finally:
        subprocess.run(["ip", "link", "del", link], check=True)


def test_a_loop_device_is_seen(before: leaks.Snapshot, tmp_path: Path) -> None:
    image = tmp_path / named()
    image.write_bytes(bytes(2**20))
    made = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this host has no loop device")
    try:
        assert any(line.startswith("loop device: ") and image.name in line for line in found_since(before))
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.decode().strip()], check=True)


def test_a_uid_range_is_seen(before: leaks.Snapshot) -> None:
    existed = leaks.UID_CLAIMS.exists()
    leaks.UID_CLAIMS.mkdir(exist_ok=True)
    claim = leaks.UID_CLAIMS / named()
    claim.write_text("524288")
    try:
        assert f"uid range: {claim}: 524288" in found_since(before)
    finally:
        claim.unlink()
        if not existed:
            leaks.UID_CLAIMS.rmdir()


def test_a_zombie_is_seen(before: leaks.Snapshot) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert f"zombie: {child}, child of {os.getpid()}" in found_since(before)
    finally:
        os.waitpid(child, 0)


def test_a_port_is_seen(before: leaks.Snapshot) -> None:
    listen = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    command = [sys.executable, "-c", f"{listen}; sys.stdin.read()", "engine/launcher/__main__.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert f"port: tcp {port} of {process.pid}" in found_since(before)
        process.communicate()


def test_an_address_is_seen(before: leaks.Snapshot) -> None:
    address = f"127.{os.getpid() % 200 + 2}.9.1"
    subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    try:
        assert f"address: {address}" in found_since(before)
    finally:
        subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=True)


def test_a_rule_of_the_packet_filter_is_seen(before: leaks.Snapshot) -> None:
    if not shutil.which("nft"):
        pytest.skip("this host has no `nft`, and nobody here can make a rule")
    table = named().replace("-", "_")
    subprocess.run(["nft", "add", "table", "inet", table], check=True)
    try:
        assert any(line.startswith("packet filter rule: ") and table in line for line in found_since(before))
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)


def test_a_thread_is_seen() -> None:
    before = {"thread": leaks.threads()}
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        (line,) = leaks.new(before, {"thread": leaks.threads()})
        assert line.startswith(f"thread: {thread.native_id} ")
    finally:
        done.set()
        thread.join()


def test_rows_and_blobs_of_a_store_are_seen(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("CREATE TABLE volumes (name TEXT)")
        before = leaks.store(tmp_path)
        connection.execute("INSERT INTO volumes VALUES ('left')")
        connection.commit()
    (tmp_path / "layers").mkdir()
    found = leaks.new(before, leaks.store(tmp_path))
    assert found == ["row: volumes ('left',)", f"blob: {tmp_path}/layers"]


def test_a_descriptor_is_seen() -> None:
    before = {"descriptor": leaks.descriptors()}
    reader, writer = os.pipe()
    try:
        found = leaks.new(before, {"descriptor": leaks.descriptors()})
        assert [line.partition(" -> ")[0] for line in found] == [f"descriptor: {fd}" for fd in sorted((reader, writer))]
    finally:
        os.close(reader)
        os.close(writer)


def test_what_ends_by_itself_is_waited_for() -> None:
    with sleeper(mark="engine/launcher/__main__.py") as pid:

        def its_own() -> leaks.Snapshot:
            """What the host has of this process alone: other workers start and end things meanwhile."""
            seen = leaks.Host()
            lines = {"process": seen.processes(), "zombie": seen.zombies()}
            return {kind: {line for line in lines[kind] if re.match(rf"{pid}\b", line)} for kind in lines}

        assert leaks.remaining({}, its_own, patience_s=0)
        ending = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
        ending.start()
        reaper = threading.Thread(target=os.waitid, args=(os.P_PID, pid, os.WEXITED))  # as its parent would
        reaper.start()
        assert leaks.remaining({}, its_own) == []
        ending.join()
        reaper.join()


def test_what_another_living_session_does_is_not_ours(before: leaks.Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    with sleeper() as other:
        monkeypatch.setenv(leaks.MARK, str(other))  # what starts now is marked as that session's
        with sleeper(mark="engine.launcher"):
            monkeypatch.undo()
            path = Path("/run") / f"{leaks.NAME}{other}-leak"
            path.touch()
            try:
                assert not [line for line in found_since(before) if f"{other}" in line or "sys.stdin" in line]
            finally:
                path.unlink()


INNER = """
from pathlib import Path
from engine.storage.instance import instance_id

def test_it(config):
    group = Path({hierarchy!r}) / f"wharfie-{{instance_id(config)}}"
    group.mkdir()
    (Path("/run") / f"{{group.name}}-outlives").touch()
    Path({leaked!r}).write_text(str(group))
"""


# Nothing of that ends by itself, so nobody need wait for it.
IMPATIENT = """
from functools import partial
from tests import conftest, leaks
from tests.conftest import *
conftest.eventually = lambda condition, timeout_s=0: bool(condition())
leaks.remaining = partial(leaks.remaining, patience_s=0.5)
"""


def test_a_leak_fails_the_run(tmp_path: Path) -> None:
    leaked = tmp_path / "leaked"
    (tmp_path / "test_it.py").write_text(INNER.format(leaked=str(leaked), hierarchy=str(hierarchy())))
    (tmp_path / "conftest.py").write_text(IMPATIENT)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
    command += ["--rootdir", str(tmp_path), "-p", "no:django", str(tmp_path / "test_it.py")]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTEST_ADDOPTS": ""}
    environment.pop(leaks.MARK)
    try:
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert run.returncode == 1
        for path in (group := Path(leaked.read_text())), Path("/run") / f"{group.name}-outlives":
            assert f": {path}" in run.stdout
        assert f"({group.name.removeprefix('wharfie-')} is of test_it.py::test_it)" in run.stdout
        assert "1 passed, 1 error" in run.stdout
    finally:
        (Path("/run") / f"{Path(leaked.read_text()).name}-outlives").unlink(missing_ok=True)
        Path(leaked.read_text()).rmdir()
