"""An engine with a busybox image in it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import ContainerSpec, Engine, ExitRecord
from tests.conftest import life

BUSYBOX = Path("/bin/busybox")
APPLETS = (
    "sh", "cat", "echo", "env", "false", "grep", "head", "id", "ls", "mkdir", "mount", "ps",
    "seq", "sleep", "sort", "stat", "touch", "true", "umount", "wget", "yes",
)  # fmt: skip
PASSWD = "root:x:0:0:root:/root:/bin/sh\ncrew:x:1000:1000::/home/crew:/bin/sh\nbig:x:4294967296:0::/:/bin/sh\n"
GROUP = "root:x:0:\ncrew:x:1000:\ndeck:x:2000:crew\nhold:x:2001:other\n"

Run = Callable[..., tuple[ExitRecord, list[str]]]


def busybox_rootfs(path: Path, **more: str) -> Path:
    """A root file system of Debian's static busybox, two tables of users, and ``more`` files by their text at /opt."""
    with tarfile.open(path, "w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text, mode in (
            ("etc/passwd", PASSWD, 0o644),
            ("etc/group", GROUP, 0o644),
            ("opt/text", "no program\n", 0o644),
            ("opt/orphan", "#!/no/such/interpreter\n", 0o755),
            ("opt/runtime", "#!/proc/self/exe\n", 0o755),
            *((f"opt/{name}", text, 0o644) for name, text in more.items()),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), mode
            tar.addfile(info, io.BytesIO(text.encode()))
        temporary = tarfile.TarInfo("tmp")
        temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(temporary)
    return path


def groups(engine: Engine, container_id: str = "") -> list[Path]:
    """The control groups of a container, in every hierarchy; without one those of the instance, above all of them."""
    return instance_groups(engine.instance, container_id)


def instance_groups(instance: str, container_id: str = "") -> list[Path]:
    """The same of an instance that has no engine any more."""
    top, name = Path("/sys/fs/cgroup"), f"wharfie-{instance}/{container_id}"
    return [group for group in (top / name, *(path / name for path in top.iterdir())) if group.exists()]


@pytest.fixture(scope=life)
def dock(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine that has the image ``busybox``."""
    engine.load_image(busybox_rootfs(tmp_path_factory.mktemp("dock") / "busybox.tar"), name="busybox")
    return engine


@pytest.fixture
def run(dock: Engine) -> Run:
    """Run a command to its end: how it ended, and its lines."""

    def act(*command: str, **options: object) -> tuple[ExitRecord, list[str]]:
        container = dock.create(ContainerSpec(image="busybox", command=command, **options))  # type: ignore[arg-type]
        try:
            dock.start(container.id)
            ended = dock.wait(container.id, timeout_s=30)
            return ended, [line.text for line in dock.logs(container.id)]
        finally:
            dock.remove(container.id, force=True)

    return act
