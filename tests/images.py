"""Images for tests: small ones, as most that run something need no more than a shell."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from engine import Engine, Image
from engine.images.spec import STARTER
from engine.images.starter import SETTINGS

BUSYBOX = Path("/bin/busybox")
APPLETS = (
    "sh", "cat", "echo", "env", "false", "grep", "head", "id", "ls", "mkdir", "mount", "ps",
    "seq", "sleep", "sort", "stat", "touch", "true", "umount", "wget", "yes",
)  # fmt: skip
PASSWD = "root:x:0:0:root:/root:/bin/sh\ncrew:x:1000:1000::/home/crew:/bin/sh\nbig:x:4294967296:0::/:/bin/sh\n"
GROUP = "root:x:0:\ncrew:x:1000:\ndeck:x:2000:crew\nhold:x:2001:other\n"


def busybox_rootfs(path: Path, **more: str) -> Path:
    """A root file system of Debian's static busybox, two tables of users, and ``more`` files by their text at /opt."""
    with path.open("wb") as file:
        _write(file, APPLETS, more)
    return path


def small_starter(engine: Engine) -> Image:
    """The same, with all applets, under the starter image's name and settings: no Python and no bash, and made in a
    tenth of the time."""
    applets = subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    file = io.BytesIO()
    _write(file, applets, {})
    file.seek(0)
    return engine._images.load_rootfs(file, STARTER, SETTINGS)


def _write(file: BinaryIO, applets: Iterable[str], more: dict[str, str]) -> None:
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for applet in applets:
            if applet != "busybox":
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
