"""What an image brings along: programs, libraries and modules that nobody outside runs, rights that it does not get.

CVE-2019-14271, CVE-2022-1227, CVE-2022-36109, CVE-2022-29162, CVE-2026-47262.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from engine import Container, ContainerSpec, Engine, EngineError, ExecSpec, Limits, Security
from tests.engine.files.test_copies import copies, packed
from tests.images import BUSYBOX, busybox_rootfs

TRAPS = ("ps", "nsenter", "tar", "xz", "unxz", "gzip", "unpigz", "pigz", "zstd", "bzip2", "top", "newuidmap", "mount")
TRAP = b"#!/bin/busybox sh\n: >> /ran\n"
INHERITABLE = struct.pack("<5I", 0x02000001, 0, 0x57B, 0, 0)  # vfs_cap_data, version 2, effective; capabilities(7)


Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, data: bytes = b"", mode: int = 0o755, gid: int = 0, **headers: str) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.gid, info.pax_headers = len(data), mode, gid, headers
    return info, data


def hostile(engine: Engine, tmp_path: Path, *members: Member) -> None:
    """The image ``hostile``: busybox, and these."""
    path = busybox_rootfs(tmp_path / "hostile.tar")
    with tarfile.open(path, "a", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    engine.load_image(path, name="hostile")


@pytest.fixture
def trapped(engine: Engine, tmp_path: Path) -> Container:
    """A container whose image has a trap for whoever takes a program from it."""
    traps = [member(f"{place}/{name}", TRAP) for place in ("usr/bin", "usr/sbin", "sbin") for name in TRAPS]
    hostile(engine, tmp_path, *traps, member("lib/x86_64-linux-gnu/libnss_files.so.2", b"\x7fELF and no more"))
    container = engine.create(ContainerSpec(image="hostile", command=("sleep", "1000")))
    return engine.start(container.id)


def ran(engine: Engine, container: Container, *command: str) -> bytes:
    with engine.exec(container.id, ExecSpec(command, stdin=False)) as execution:
        return execution.output(timeout_s=30)[1]


def test_cve_2019_14271_2022_1227_no_program_of_the_image_is_run_by_a_copy_or_a_look(
    engine: Engine, trapped: Container
) -> None:
    marker = Path(f"/proc/{trapped.pid}/root/ran")
    inside = os.stat(f"/proc/{trapped.pid}/root").st_dev
    engine.files.copy_in(trapped.id, "/tmp", packed(big=os.urandom(20 * 10**6)))
    with pytest.raises(EngineError):  # what it is not asked to unpack it does not
        engine.files.copy_in(trapped.id, "/tmp", io.BytesIO(b"\xfd7zXZ\0" + bytes(1024)))
    with engine.files.copy_out(trapped.id, "/tmp/big", "big") as stream:
        assert stream.read(1)
        (worker,) = copies(engine)
        numbers = f"{os.major(inside):02x}:{os.minor(inside):02x}"
        mapped = [line for line in Path(f"/proc/{worker}/maps").read_text().splitlines() if line.split()[3] == numbers]
        assert mapped == [], "nor is a library of it loaded"
    with engine.files.export(trapped.id) as stream:
        while stream.read(2**20):
            pass
    assert list(engine.files.changes(trapped.id))
    assert [process.name for process in engine.processes(trapped.id)] == ["sleep"]
    assert engine.browse.list(trapped.id, "/tmp").entries
    assert not marker.exists()
    for name in TRAPS:
        ran(engine, trapped, f"/usr/bin/{name}")
    assert marker.exists(), "they would have told"


def test_cve_2019_14271_no_module_is_loaded_from_what_is_copied(tmp_path: Path) -> None:
    """In the worker itself, with a module of Python's own name where it looks for those that it has not loaded yet."""
    root = tmp_path / "root"
    for place in ("", *(path for path in sys.path if path.startswith("/"))):
        directory = root / place.lstrip("/")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "colorsys.py").write_text("planted = True\n")
    program = f"""
import os, sys
sys.path[:] = ["/", {str(Path(__file__).resolve().parents[3])!r}, *sys.path]
from engine.archives import sandbox
def work(stream):
    try:
        import colorsys
    except ImportError:
        return {{"found": "nothing"}}
    return {{"found": "the image's" if hasattr(colorsys, "planted") else "the host's"}}
target = os.open({str(root)!r}, os.O_RDONLY)
print(sandbox.run(work, 0, sandbox.directory(target), sandbox.Bounds(1_900_000_000, 1 << 20, 10))["found"])
"""
    command = [sys.executable, "-I", "-S", "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "nothing\n"


@pytest.fixture
def crewed(engine: Engine, tmp_path: Path) -> Container:
    """A container with a file for a group alone, one for everybody but that group, and a program that inherits."""
    busybox = BUSYBOX.read_bytes()
    attribute = {"SCHILY.xattr.security.capability": INHERITABLE.decode()}
    hostile(
        engine, tmp_path,
        member("opt/of-the-deck", b"yes\n", 0o070, 2000), member("opt/not-of-the-deck", b"yes\n", 0o707, 2000),
        member("opt/busybox", busybox, 0o755, **attribute),
    )  # fmt: skip
    container = engine.create(ContainerSpec(image="hostile", command=("sleep", "1000")))
    return engine.start(container.id)


@pytest.mark.parametrize(
    ("user", "more", "reads"),
    [
        ("crew", (), [True, False]),  # who is of the deck by /etc/group
        ("1000", (), [True, False]),
        ("crew:crew", (), [False, True]),  # a group that is named is the only one
        ("1001", (), [False, True]),
        ("1001:2000", (), [True, False]),
        ("1001", ("deck",), [True, False]),
    ],
)
def test_cve_2022_36109_2990_a_group_gives_and_takes(
    engine: Engine, crewed: Container, user: str, more: tuple[str, ...], reads: list[bool]
) -> None:
    """Of the first process and of a further one."""
    script = "for f in of not-of; do cat /opt/$f-the-deck 2>/dev/null || echo no; done"
    spec = ContainerSpec(image="hostile", command=("sh", "-c", f"{script}; exec sleep 1000"), user=user,
                         security=Security(group_add=more))  # fmt: skip
    container = engine.start(engine.create(spec).id)
    lines = engine.logs(container.id, follow=True)
    assert [next(lines).text == "yes" for _ in range(2)] == reads
    with engine.exec(container.id, ExecSpec(("sh", "-c", script), stdin=False, user=user)) as execution:
        shown = execution.output(timeout_s=30)[1].decode()
    assert [line == "yes" for line in shown.splitlines()] == reads


@pytest.mark.parametrize("user", ["crew", "root"])
def test_cve_2022_29162_24769_a_program_that_inherits_is_given_nothing(
    engine: Engine, crewed: Container, user: str
) -> None:
    """File capabilities count where a process has the same inheritable ones; none of ours has any."""
    found = {}
    for program in ("/bin/busybox", "/opt/busybox"):
        spec = ExecSpec((program, "grep", "Cap", "/proc/self/status"), stdin=False, user=user)
        with engine.exec(crewed.id, spec) as execution:
            code, shown, _ = execution.output(timeout_s=30)
        assert code == 0
        found[program] = dict(line.split(":\t") for line in shown.decode().splitlines())
    attributes = os.listxattr(f"/proc/{crewed.pid}/root/opt/busybox")
    assert "security.capability" in attributes
    plain, marked = found.values()
    assert marked["CapInh"] == plain["CapInh"] == "0" * 16
    assert marked == plain
    assert int(marked["CapEff"], 16) == (0 if user == "crew" else 0x800405FB)


@pytest.mark.parametrize("table", ["etc/passwd", "etc/group"])
def test_cve_2026_47262_a_giant_table_of_users(engine: Engine, tmp_path: Path, table: str) -> None:
    """100 MB of it, read in a container that may have 20 MB: it is refused, and nobody is killed for its size."""
    hostile(engine, tmp_path, member(table, b"x:x:1:\n" * (10**8 // 7)))
    began = time.monotonic()
    small = Limits(memory_bytes=20 * 2**20)
    container = engine.create(ContainerSpec(image="hostile", command=("true",), user="crew", limits=small))
    with pytest.raises(EngineError, match="too large") as caught:
        engine.start(container.id)
    assert caught.value.exit_code == 125
    assert time.monotonic() - began < 60
