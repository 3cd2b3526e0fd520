"""One tree as a tar: what a file has, as far as it can be given back."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from engine.archives.collect import xattrs
from engine.archives.tar import Reader
from engine.backup import attributes
from engine.backup.pack import MAX_EXTENTS, Packer, data_extents


def test_attributes_of_one_file_are_saved_as_far_as_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems where they may be more than a header holds."""
    many = [(f"user.{number}", bytes(2**16)) for number in range(20)]
    monkeypatch.setattr(attributes, "read", lambda path: iter(many if path.startswith("/proc") else ()))
    (tmp_path / "full").touch()
    out = io.BytesIO()
    packer = Packer(out)
    top = os.open(tmp_path, os.O_RDONLY)
    packer.run(top, only=frozenset({"full"}))
    os.close(top)
    out.seek(0)
    entries = {entry.name: entry for entry in Reader(out)}
    assert 10 < len(entries[b"full"].xattrs) < 20
    assert len(packer.notes) == 2 * (20 - len(entries[b"full"].xattrs)), "of the directory too, which has them all here"


def test_files_with_many_holes_are_read_with_fewer(tmp_path: Path) -> None:
    path = Path("/var/tmp") / f"wharfie-t{os.environ['WHARFIE_TEST_SESSION']}-holes"
    try:
        with open(path, "wb") as file:
            for number in range(MAX_EXTENTS + 50):
                file.seek(number * 8192)
                file.write(b"x")
        descriptor = os.open(path, os.O_RDONLY)
        found = data_extents(descriptor, path.stat().st_size)
        os.close(descriptor)
        assert len(found) == MAX_EXTENTS
        assert sum(found[-1]) == path.stat().st_size
    finally:
        path.unlink()


def test_a_file_that_is_cut_between_two_looks_has_the_data_seen_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "sparse", os.lseek
    path.write_bytes(b"x" * 4096 + bytes(2**20) + b"y" * 4096)
    with path.open("r+b") as file, monkeypatch.context() as patch:
        file.truncate(2**24)

        def lseek(descriptor: int, offset: int, whence: int) -> int:
            if whence == os.SEEK_HOLE and descriptor == file.fileno():
                file.truncate(0)
            return real(descriptor, offset, whence)

        patch.setattr(os, "lseek", lseek)
        assert data_extents(file.fileno(), 2**24) == []


def test_an_attribute_that_cannot_be_read_is_no_removed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = errno.ENODATA
    monkeypatch.setattr(os, "listxattr", lambda _path: ["user.one"])

    def getxattr(path: str, _name: str) -> bytes:
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(os, "getxattr", getxattr)
    assert list(attributes.read(str(tmp_path))) == []
    assert xattrs(0) == {}
    code = errno.EIO
    with pytest.raises(OSError, match="Input/output"):
        list(attributes.read(str(tmp_path)))
    with pytest.raises(OSError, match="Input/output"):
        xattrs(0)
