"""The starter image: this Debian host's own shell, tools and Python, so that a first container needs no network.

Files are chosen from dpkg's lists (/var/lib/dpkg/info/*.list) and their shared libraries from ELF headers. No
process is started. The same host files give the same image id: names sorted, owners 0, times 0.
"""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from engine.errors import Unsupported
from engine.images import elf
from engine.images.config import DEFAULT_PATH
from engine.images.spec import STARTER, Image, ImageConfig
from engine.images.store import ImageStore

SETTINGS = ImageConfig(env=(DEFAULT_PATH,), cmd=("/bin/sh",))
REQUIRED = ("dash", "coreutils", "procps", "python3-minimal")
OPTIONAL = ("bash", "grep", "sed", "findutils", "mawk", "gawk", "hostname", "ncurses-base", "base-files", "libc-bin")
MERGED = ("bin", "lib", "lib64", "sbin")  # links to usr/…; file-hierarchy(7)

_DIRECTORIES = {"dev": 0o755, "proc": 0o555, "sys": 0o555, "run": 0o755, "home": 0o755, "root": 0o700, "opt": 0o755}
_DIRECTORIES |= {"tmp": 0o1777, "var/tmp": 0o1777, "var/lib": 0o755, "var/log": 0o755, "mnt": 0o755, "srv": 0o755}
_TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_UNWANTED = re.compile(
    r"usr/share/(?!terminfo|tabset)|etc/(?!os-release$|debian_version$|python3|bash\.bashrc$|terminfo)|var/|boot|"
    r"usr/lib/python3[^/]*/(test|idlelib|ensurepip|lib2to3|turtledemo|tkinter|pydoc_data|dist-packages)(/|$)|"
    r"usr/lib/python3/|.*/__pycache__(/|$)|.*\.pyc$|usr/(games|include|src|local)(/|$)|usr/lib/mime"
)


def make(store: ImageStore, progress: Callable[[str], None] | None = None) -> Image:
    """Make the starter image and tag it; Unsupported where the host is not Debian or lacks a package."""
    say = progress or (lambda _text: None)
    say("Collecting files of this host")
    files = collect(Path("/"))
    with tempfile.TemporaryFile(dir=store.scratch) as file:
        write_tar(file, files)
        return store.load_rootfs(file, STARTER, SETTINGS, progress)


def collect(root: Path) -> dict[str, Path]:
    """What goes into the image: path in the image -> file of the host below ``root``."""
    return _Collection(root).complete()


def write_tar(file: BinaryIO, files: dict[str, Path]) -> None:
    """Write the image's only layer."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in MERGED:
            tar.addfile(_info(name, tarfile.SYMTYPE, 0o777, link=f"usr/{name}"))
        parents = {
            str(parent): 0o755 for name in (*files, *_TEXTS, *_DIRECTORIES) for parent in PurePosixPath(name).parents
        }
        for name, mode in sorted((parents | {f"usr/{name}": 0o755 for name in MERGED} | _DIRECTORIES).items()):
            tar.addfile(_info(name, tarfile.DIRTYPE, mode))
        for name, text in _TEXTS.items():
            tar.addfile(_info(name, tarfile.REGTYPE, 0o644, size=len(text)), io.BytesIO(text.encode()))
        for name, path in sorted(files.items()):
            if path.is_symlink():
                tar.addfile(_info(name, tarfile.SYMTYPE, 0o777, link=os.readlink(path)))
                continue
            with path.open("rb") as content:
                status = os.fstat(content.fileno())
                # 0755: no setuid bit of the host comes along
                tar.addfile(_info(name, tarfile.REGTYPE, status.st_mode & 0o755, size=status.st_size), content)


def _info(name: str, kind: bytes, mode: int, *, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, size, link
    return info


class _Collection:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._info = root / "var/lib/dpkg/info"
        self._files: dict[str, Path] = {}
        self._libraries = [root / "usr/lib", root / "usr/lib64", *sorted(root.glob("usr/lib/*-linux-gnu"))]

    def complete(self) -> dict[str, Path]:
        python = self._python()
        missing = [name for name in REQUIRED if self._list(name) is None]
        if missing:
            raise Unsupported(
                f"the starter image needs Debian packages that are not here: {', '.join(missing)}",
                hint=f"apt install {' '.join(missing)}, or load an image instead",
            )
        for package in (*REQUIRED, *python, *OPTIONAL):
            self._add_package(package)
        self._add_link("usr/bin/sh", "dash")
        self._add_link("usr/bin/awk", "mawk", "gawk")
        self._add_libraries()
        return {name: path for name, path in self._files.items() if name not in _TEXTS}

    def _python(self) -> tuple[str, ...]:
        """The packages of Debian's own python3, whatever its version."""
        link = self._root / "usr/bin/python3"
        version = os.readlink(link) if link.is_symlink() else "python3"
        return (f"{version}-minimal", f"lib{version}-minimal", f"lib{version}-stdlib")

    def _list(self, package: str) -> Path | None:
        found = [self._info / f"{package}.list", *sorted(self._info.glob(f"{package}:*.list"))]
        return next((path for path in found if path.is_file()), None)

    def _add_package(self, package: str) -> None:
        listing = self._list(package)
        for line in listing.read_text().splitlines() if listing else ():
            self._add(line)

    def _add(self, path: str) -> bool:
        """Add a regular file or a link by its path on the host; False when it is neither."""
        name = path.strip("/")
        if name in MERGED:
            return False
        if name.partition("/")[0] in MERGED:
            name = f"usr/{name}"
        host = self._root / path.strip("/")
        if name in self._files:
            return True
        if _UNWANTED.match(name) or not (host.is_file() or host.is_symlink()):
            return False
        mode = host.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            return False
        self._files[name] = host
        return True

    def _add_link(self, name: str, *choices: str) -> None:
        """A link that Debian makes at installation (diversion, alternative), so that no package lists it."""
        for choice in choices:
            host = self._root / f"usr/bin/{choice}"
            if f"usr/bin/{choice}" in self._files and name not in self._files:
                self._files[name] = host

    def _add_libraries(self) -> None:
        pending = list(self._files.values())
        seen: set[str] = set()
        while pending:
            path = pending.pop()
            if path.is_symlink() or not _may_be_elf(path):
                continue
            wanted = elf.needs(path)
            for name in (*wanted.libraries, wanted.interpreter) if wanted else ():
                if name and name not in seen:
                    seen.add(name)
                    pending += self._add_library(name)

    def _add_library(self, name: str) -> list[Path]:
        candidates = [self._root / name.strip("/")] if "/" in name else [d / name for d in self._libraries]
        for candidate in candidates:
            if candidate.is_file():
                return self._add_chain(candidate)
        raise Unsupported(
            f"the starter image needs the library {name}, which is not here", hint="apt install --reinstall it"
        )

    def _add_chain(self, path: Path) -> list[Path]:
        """A library and the file that its link means: libx.so.1 -> libx.so.1.2."""
        added = []
        for step in (path, path.resolve()):
            name = str(step.relative_to(self._root))
            if self._add(name):
                added.append(step)
        return added


def _may_be_elf(path: Path) -> bool:
    return path.suffix not in (".py", ".txt", ".h") and "terminfo" not in path.parts
