"""Attacks on other engines, by the name that each has, tried here; races are in test_races.py, archives in archives/.

Each test has a sentinel on the host, which must not change and whose text must not be seen.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from console.supervisor import answering
from engine import Container, ContainerSpec, Engine, EngineError, ExecSpec, VolumeMount
from engine.errors import InvalidRequest, NotFound
from engine.linux import mount
from engine.shim import sysctls
from tests.conftest import eventually
from tests.engine.files.test_copies import descendants
from tests.engine.images import archives as images
from tests.engine.isolation.conftest import SECRET
from tests.images import busybox_rootfs

pytestmark = pytest.mark.one_engine


def image(engine: Engine, tmp_path: Path, links: dict[str, str], files: dict[str, bytes] | None = None) -> Engine:
    """The image ``hostile``: busybox, with links in places where there should be none."""
    path = busybox_rootfs(tmp_path / "hostile.tar")
    with tarfile.open(path, "a") as tar:
        for name, target in links.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, data in (files or {}).items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
    engine.load_image(path, name="hostile")
    return engine


def outcome(engine: Engine, *command: str, **options: object) -> tuple[int | None, str]:
    """How a command of the hostile image ended, and what it said; or the code of its refusal."""
    container = engine.create(ContainerSpec(image="hostile", command=command, **options))  # type: ignore[arg-type]
    try:
        engine.start(container.id)
        ended = engine.wait(container.id, timeout_s=30)
        return ended.code, "\n".join(line.text for line in engine.logs(container.id))
    except EngineError as error:
        return error.exit_code, str(error)
    finally:
        engine.remove(container.id, force=True)


@pytest.mark.parametrize("number", [3, 4, 5, 7, 8, 11, 16, 33, 64])
def test_cve_2024_21626_a_working_directory_on_a_leaked_descriptor(dock: Engine, victim: Path, number: int) -> None:
    container = dock.create(
        ContainerSpec(
            image="busybox", command=("cat", f"../../../../../..{victim}/secret"), workdir=f"/proc/self/fd/{number}"
        )
    )
    with pytest.raises(EngineError) as caught:
        dock.start(container.id)
    assert caught.value.exit_code in (125, 126)
    running = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    dock.start(running.id)
    with pytest.raises(EngineError) as caught:
        dock.exec(running.id, ExecSpec(("cat", "x"), workdir=f"/proc/self/fd/{number}")).close()
    assert caught.value.exit_code in (125, 126)


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_cve_2019_19921_2023_27561_2026_41579_kernel_file_systems_on_a_link(
    engine: Engine, tmp_path: Path, victim: Path, name: str
) -> None:
    code, said = outcome(image(engine, tmp_path, {name: f"..{victim}"}), "true")
    assert code == 125
    assert SECRET not in said


def test_cve_2025_31133_a_null_device_that_is_a_link(engine: Engine, tmp_path: Path) -> None:
    hostile = image(engine, tmp_path, {"dev/null": "/proc/sys/kernel/core_pattern"})
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    code, said = outcome(hostile, "sh", "-c", "stat -c %t:%T /dev/null; cat /proc/keys; echo x > /dev/null; echo done")
    assert (code, said) == (0, "1:3\ndone")
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_cve_2025_52881_a_setting_that_is_another_file() -> None:
    """The writer of kernel settings, given what is no proc file system."""
    fake = mount.filesystem("tmpfs")
    try:
        os.mkdir("sys", dir_fd=fake)
        os.close(os.open("sys/setting", os.O_CREAT | os.O_WRONLY, dir_fd=fake))
        with pytest.raises(OSError, match="not on proc"):
            sysctls.opened(fake)
        settings = os.open("sys", os.O_PATH | os.O_DIRECTORY, dir_fd=fake)
        with pytest.raises(OSError, match="not on proc"):
            sysctls.put(settings, "setting", "1")
        os.symlink("setting", "sys/link", dir_fd=fake)
        with pytest.raises(OSError, match="symbolic links"):
            sysctls.put(settings, "link", "1")
        descriptor = os.open("sys/setting", os.O_RDONLY, dir_fd=fake)
        assert os.read(descriptor, 10) == b""
        os.close(descriptor)
        os.close(settings)
    finally:
        os.close(fake)


def test_cve_2026_55686_a_working_directory_through_a_link(engine: Engine, tmp_path: Path, victim: Path) -> None:
    hostile = image(engine, tmp_path, {"l": str(victim), "inner": "/opt"})
    assert outcome(hostile, "sh", "-c", "pwd", workdir="/l/made")[0] == 125, "what it leads to is not in the container"
    assert outcome(hostile, "sh", "-c", "pwd", workdir="/inner/made") == (0, "/opt/made")


def test_cve_2022_0492_a_release_agent(dock: Engine) -> None:
    script = (
        "busybox find / -xdev -name release_agent 2>/dev/null;"
        " mkdir /tmp/m; mount -t cgroup -o pids none /tmp/m; echo $?; busybox unshare -UrC true; echo $?"
    )
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script)))
    dock.start(container.id)
    dock.wait(container.id, timeout_s=20)
    codes = [line.text for line in dock.logs(container.id) if line.text.isdigit()]
    assert len(codes) == 2
    assert "0" not in codes
    assert not [line for line in dock.logs(container.id) if line.text.endswith("release_agent")]


@pytest.mark.parametrize("target", ["/etc", "../../../../etc"])
def test_cve_2017_1002101_2022_23648_a_declared_volume_on_a_link(
    engine: Engine, tmp_path: Path, victim: Path, target: str
) -> None:
    """What the image declares brings no file of the host; and a volume mounted there stays inside."""
    hostile = image(engine, tmp_path, {"v": f"..{victim}" if target == "/etc" else target})
    hostile.create_volume("data")
    code, said = outcome(hostile, "sh", "-c", "ls /v; cat /v/secret", volumes=(VolumeMount("data", "/v"),))
    assert SECRET not in said
    assert code != 0


def test_cve_2014_9357_options_from_an_image_are_not_read(engine: Engine, tmp_path: Path) -> None:
    layer = busybox_rootfs(tmp_path / "layer.tar").read_bytes()
    hostile = {
        "HostConfig": {"Privileged": True, "Binds": ["/:/host"], "CapAdd": ["ALL"]},
        "SecurityOpt": ["seccomp=unconfined"],
        "config": {"Cmd": ["/bin/cat", "/proc/self/status"], "SecurityOpt": ["seccomp=unconfined"], "Privileged": True},
    }
    archive = tmp_path / "image.tar"
    archive.write_bytes(images.tar(images.docker_save([layer], document=images.config([layer], **hostile))))
    (loaded,) = engine.load_image(archive)
    container = engine.create(ContainerSpec(image=loaded.id))
    engine.start(container.id)
    engine.wait(container.id, timeout_s=20)
    status = dict(line.text.split(":\t", 1) for line in engine.logs(container.id) if ":\t" in line.text)
    assert (status["CapEff"], status["Seccomp"], status["NoNewPrivs"]) == ("00000000800405fb", "2", "1")


@pytest.mark.parametrize("ref", ["../../etc", "..", "/", "a/../../b", "\0", "*", "%", "_" * 12, "0x0", "sha256:../x"])
def test_cve_2014_9356_an_id_is_no_path(dock: Engine, ref: str) -> None:
    for act in (dock.inspect, dock.start, dock.remove, lambda name: dock.logs(name).__next__(), dock.remove_image):
        with pytest.raises((NotFound, InvalidRequest)):
            act(ref)


@pytest.mark.parametrize("name", ["../x", "..", ".", "a/b", "/abs", "a\0b", "", "a\nb", "-x", " "])
def test_cve_2014_6407_a_volume_is_no_path(dock: Engine, name: str) -> None:
    with pytest.raises(InvalidRequest):
        dock.create_volume(name)
    assert os.listdir(dock.paths.volumes) == []


@pytest.mark.parametrize("hostname", ["a\n127.0.0.1 evil", "a b", "x" * 300, "a\0b", "../a"])
def test_cve_2022_4318_a_line_smuggled_into_a_file_of_etc(dock: Engine, hostname: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        dock.create(ContainerSpec(image="busybox", command=("true",), hostname=hostname))
    assert caught.value.field == "hostname"


def test_cve_2020_15257_no_abstract_socket_of_ours(dock: Engine) -> None:
    """Of the host, where a container with the host's network would see it: no process of ours has one. Of the
    container, in which they would be reached: there is none at all."""
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    pid = dock.start(container.id).pid
    terminal = dock.terminal(container.id, ExecSpec(("sleep", "1000")))
    launcher = answering(str(dock.paths.launcher_socket))
    assert launcher
    ours = {os.getpid(), launcher, *descendants(launcher)}
    held = {link for each in ours for link in links(each)}
    sockets = unix_sockets(Path("/proc/net/unix"))
    assert {path for number, path in sockets.items() if f"socket:[{number}]" in held and path.startswith("/")}
    assert not [path for number, path in sockets.items() if f"socket:[{number}]" in held and path.startswith("@")]
    assert not [path for path in unix_sockets(Path(f"/proc/{pid}/net/unix")).values() if path.startswith("@")]
    terminal.close()


def unix_sockets(table: Path) -> dict[str, str]:
    """The names of sockets by their numbers, "" for those without; proc_net(5)."""
    rows = [line.split(maxsplit=7) for line in table.read_text().splitlines()[1:]]
    return {row[6]: row[7] if len(row) > 7 else "" for row in rows}


def links(pid: int) -> list[str]:
    """What the descriptors of a process are; none when it has ended."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            found.append(os.readlink(path))
    return found


def test_cve_2025_9074_no_door_of_the_host_is_in_reach(dock: Engine) -> None:
    """Neither the console's port on loopback nor a socket of the engine."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"busybox nc -w 2 127.0.0.1 {port} </dev/null; echo $?; ls {dock.paths.run} {dock.paths.root}"
        container: Container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script)))
        dock.start(container.id)
        assert dock.wait(container.id, timeout_s=30).code != 0
        assert "1" in [line.text for line in dock.logs(container.id)]
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


def test_cve_2026_50195_a_log_that_is_a_link(dock: Engine, victim: Path) -> None:
    """No reader follows it, and no writer; what they say is of the engine's own kind."""
    spec = ContainerSpec(image="busybox", command=("sh", "-c", "seq 50000; exec sleep 1000"), log_segment_bytes=2**16)
    container = dock.create(spec)
    dock.start(container.id)
    directory = dock.paths.log(container.id)
    assert eventually(lambda: len(list(directory.iterdir())) == 3), "it goes on in a further segment"
    reader = dock.log_pages(container.id)
    place = reader.end()
    dock.stop(container.id, 0)
    for path in directory.iterdir():
        path.unlink()
        path.symlink_to(victim / "secret")
    pages = dock.log_pages(container.id)
    readers: dict[str, Callable[[], object]] = {
        "all lines": lambda: list(dock.logs(container.id)),
        "the last lines": lambda: list(dock.logs(container.id, tail=3)),
        "lines as they come": lambda: list(dock.logs(container.id, follow=True)),
        "lines of a time": lambda: list(dock.logs(container.id, since_ns=1)),
        "bytes": lambda: list(dock.log_bytes(container.id)),
        "a tail": lambda: dock.log_tail(container.id).read(),
        "its end": lambda: dock.log_tail(container.id, tail=3).read(),
        "a page, backwards": lambda: pages.before(place, 10),
        "a page, forwards": lambda: pages.after(place, 10),
        "an open page": lambda: reader.before(place, 10),
        "a place by time": lambda: pages.at_time(1),
        "a count": lambda: pages.lines_before(place),
    }
    for name, read in readers.items():
        with pytest.raises(EngineError, match="opening the log") as caught:
            read()
        assert SECRET not in str(caught.value), name
    dock.start(container.id)
    assert eventually(lambda: not [path for path in directory.iterdir() if path.is_symlink()]), "gone in their turn"
    dock.stop(container.id, 0)
    told = b"".join(path.read_bytes() for path in directory.iterdir())
    assert not [at for at in range(len(SECRET) - 8) if SECRET[at : at + 8].encode() in told], "as a count neither"
