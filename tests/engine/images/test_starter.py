"""The starter image: complete enough to run, small, the same each time; and the ELF reader behind it."""

from __future__ import annotations

import io
import os
import stat
import subprocess
from pathlib import Path

import pytest

from engine.errors import Unsupported
from engine.images import elf, starter
from engine.images.spec import STARTER
from tests.engine.images.conftest import Store

pytestmark = pytest.mark.skipif(not Path("/var/lib/dpkg/info").is_dir(), reason="needs a Debian host")


@pytest.fixture(scope="module")
def files() -> dict[str, Path]:
    return starter.collect(Path("/"))


@pytest.mark.parametrize(
    "name",
    ["usr/bin/dash", "usr/bin/sh", "usr/bin/ls", "usr/bin/ps", "usr/bin/top", "usr/bin/python3", "usr/lib/os-release"],
)
def test_what_a_first_container_needs_is_there(files: dict[str, Path], name: str) -> None:
    assert name in files


def test_nothing_of_the_host_but_packages_is_taken(files: dict[str, Path]) -> None:
    assert not [name for name in files if name.startswith(("home", "root", "var", "tmp", "etc/ssh", "etc/shadow"))]
    assert not [name for name in files if "/test/" in name or name.endswith(".pyc") or "/doc/" in name]
    assert not set(files) & set(starter.MERGED)


def test_it_is_small_deterministic_and_without_setuid(files: dict[str, Path]) -> None:
    one, two = io.BytesIO(), io.BytesIO()
    starter.write_tar(one, files)
    starter.write_tar(two, dict(reversed(files.items())))
    assert one.getvalue() == two.getvalue()
    assert len(one.getvalue()) < 100 * 2**20


def test_programs_run_in_it(store: Store) -> None:
    image = starter.make(store.images)
    assert image.tags == (STARTER,)
    assert image.config.cmd == ("/bin/sh",)
    root = store.paths.layer(image.layers[0].diff_id)
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777
    assert not [p for p in root.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o6000]
    python = "import ssl, sqlite3, ctypes, json, lzma; print(6 * 7)"
    script = f"python3 -c '{python}'; awk 'BEGIN{{print 1}}'; ls / | head -1; id -un"
    done = subprocess.run(
        ["chroot", str(root), "/bin/sh", "-ec", script], check=True, stdout=subprocess.PIPE, env={"PATH": "/bin:/sbin"}
    )
    assert done.stdout.decode().split() == ["42", "1", "bin", "root"]
    again = starter.make(store.images)
    assert again.id == image.id


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    for package in ("dash", "coreutils", "python3-minimal"):
        (info / f"{package}.list").write_text("")
    with pytest.raises(Unsupported, match="procps") as caught:
        starter.collect(tmp_path)
    assert "apt install procps" in caught.value.hint


def test_a_host_without_dpkg_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="Debian packages"):
        starter.collect(tmp_path)


@pytest.mark.parametrize("program", ["/bin/sh", "/bin/ps", "/usr/bin/python3"])
def test_elf_needs_are_those_that_the_linker_lists(program: str) -> None:
    real = Path(os.path.realpath(program))
    needs = elf.needs(real)
    assert needs is not None
    dump = subprocess.run(["ldd", str(real)], check=True, stdout=subprocess.PIPE).stdout.decode()
    assert needs.interpreter in dump
    assert needs.libraries
    assert all(name in dump for name in needs.libraries)


def test_what_is_no_elf_has_no_needs(tmp_path: Path) -> None:
    for content in (b"", b"#!/bin/sh\n", b"\x7fELF" + bytes(10), b"\x7fELF\x01\x01" + bytes(100)):
        (tmp_path / "file").write_bytes(content)
        assert elf.needs(tmp_path / "file") is None
