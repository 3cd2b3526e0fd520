"""What the worker makes of good archives: the same files, with ids 0 to 65535 on disk."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from engine.errors import InvalidRequest, Unavailable
from tests.engine.archives import separate
from tests.engine.archives.conftest import Target
from tests.engine.archives.tars import directory, file, hardlink, header, octal, pax, snapshot, symlink


def kind(path: Path) -> int:
    return stat.S_IFMT(path.lstat().st_mode)


def is_whiteout(path: Path) -> bool:
    return kind(path) == stat.S_IFCHR and path.lstat().st_rdev == 0


def opaque(path: Path) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(path)


def test_files_keep_mode_owner_time_and_content(target: Target) -> None:
    result = target.unpack(file(b"a", b"hello", mode=b"0004751\0", uid=octal(1000, 8), gid=octal(65535, 8)))
    status = (target.path / "a").stat()
    assert (target.path / "a").read_bytes() == b"hello"
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o4751, 1000, 65535)
    assert status.st_mtime == 1
    assert result == {"size_bytes": 5, "entries": 1, "skipped_devices": 0, "opaque": 0}


def test_the_root_takes_the_archives_mode_and_time(target: Target) -> None:
    target.unpack(directory(b"./", mode=b"0000711\0") + file(b"./a"))
    assert stat.S_IMODE(target.path.stat().st_mode) == 0o711
    assert target.path.stat().st_mtime == 1


def test_directories_keep_their_time_though_files_come_later(target: Target) -> None:
    target.unpack(directory(b"d") + file(b"d/a"))
    assert (target.path / "d").stat().st_mtime == 1


def test_missing_parents_are_made(target: Target) -> None:
    target.unpack(file(b"a/b/c", b"x"))
    assert stat.S_IMODE((target.path / "a/b").stat().st_mode) == 0o755


def test_symbolic_links_may_say_anything(target: Target) -> None:
    target.unpack(symlink(b"a", b"/etc/passwd") + symlink(b"b", b"../../../x", uid=octal(7, 8)))
    assert os.readlink(target.path / "a") == "/etc/passwd"
    assert (target.path / "b").lstat().st_uid == 7


def test_hard_links_share_the_file_and_never_follow(target: Target) -> None:
    target.unpack(file(b"a", b"x") + hardlink(b"d/b", b"./a") + symlink(b"l", b"a") + hardlink(b"m", b"l"))
    assert (target.path / "d/b").samefile(target.path / "a")
    assert os.readlink(target.path / "m") == "a"


def test_fifos_are_made(target: Target) -> None:
    target.unpack(header(b"f", b"6", mode=b"0000640\0", uid=octal(3, 8)))
    assert kind(target.path / "f") == stat.S_IFIFO
    assert (target.path / "f").stat().st_uid == 3


def test_devices_below_dev_are_skipped_and_counted(target: Target) -> None:
    result = target.unpack(directory(b"dev") + header(b"dev/null", b"3") + header(b"dev/sda", b"4"))
    assert result["skipped_devices"] == 2
    assert list((target.path / "dev").iterdir()) == []


def test_capabilities_and_user_attributes_are_kept_others_are_not(target: Target) -> None:
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service+ep, version 2
    records = {
        b"SCHILY.xattr.security.capability": capability,
        b"SCHILY.xattr.user.note": b"n\0\n",
        b"SCHILY.xattr.trusted.overlay.opaque": b"y",
        b"SCHILY.xattr.user.overlay.opaque": b"y",
        b"SCHILY.xattr.security.selinux": b"x",
    }
    target.unpack(pax(records) + file(b"a", b"x", uid=octal(5, 8)))
    assert os.getxattr(target.path / "a", "user.note") == b"n\0\n"
    assert os.getxattr(target.path / "a", "security.capability")[4:8] == capability[4:8]
    assert set(os.listxattr(target.path / "a")) == {"user.note", "security.capability"}


def test_later_entries_win(target: Target) -> None:
    target.unpack(file(b"a", b"1") + file(b"a", b"22") + symlink(b"b", b"x") + file(b"b", b"3"))
    assert (target.path / "a").read_bytes() == b"22"
    assert not (target.path / "b").is_symlink()


def test_a_file_replaces_a_directory_and_the_other_way_round(target: Target) -> None:
    target.unpack(file(b"d/e/f") + file(b"d", b"now a file") + file(b"g") + directory(b"g") + file(b"g/h"))
    assert (target.path / "d").read_bytes() == b"now a file"
    assert (target.path / "g/h").is_file()


def test_a_directory_stays_when_it_comes_again(target: Target) -> None:
    target.unpack(directory(b"d") + file(b"d/a") + directory(b"d", mode=b"0000700\0"))
    assert (target.path / "d/a").exists()
    assert stat.S_IMODE((target.path / "d").stat().st_mode) == 0o700


def test_a_link_replaced_by_a_file_is_not_written_through(target: Target) -> None:
    target.unpack(symlink(b"a", str(target.host / "victim").encode()) + file(b"a", b"mine"))
    assert (target.path / "a").read_bytes() == b"mine"


def test_a_whiteout_becomes_a_device_0_0(target: Target) -> None:
    target.unpack(file(b"d/.wh.gone"))
    assert is_whiteout(target.path / "d/gone")
    assert (target.path / "d/gone").lstat().st_uid == 0


def test_an_opaque_directory_is_marked_for_overlayfs(target: Target) -> None:
    result = target.unpack(directory(b"d") + file(b"d/.wh..wh..opq") + file(b"d/new"))
    assert os.getxattr(target.path / "d", "trusted.overlay.opaque") == b"y"
    assert [path.name for path in (target.path / "d").iterdir()] == ["new"]
    assert result["opaque"] == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_whiteout_hides_lower_layers_not_its_own(target: Target, order: tuple[int, int]) -> None:
    parts = (file(b".wh.d"), directory(b"d") + file(b"d/a"))
    target.unpack(b"".join(parts[number] for number in order) + file(b".wh.f") + file(b"f", b"new"))
    assert (target.path / "d/a").exists()
    assert opaque(target.path / "d")
    assert (target.path / "f").read_bytes() == b"new"


def test_a_parent_implied_over_a_whiteout_is_opaque(target: Target) -> None:
    target.unpack(file(b".wh.d") + file(b"d/a"))
    assert opaque(target.path / "d")


def test_an_opaque_directory_that_vanished_is_no_matter(target: Target) -> None:
    target.unpack(file(b"d/.wh..wh..opq") + symlink(b"x", b"d") + file(b"d", b"file now"))
    assert (target.path / "d").is_file()


def test_names_need_not_be_text(target: Target) -> None:
    target.unpack(file(b"\xff\xfe", b"x") + file(b"\xff/.wh..wh..opq"))
    assert set(os.listdir(os.fsencode(target.path))) == {b"\xff", b"\xff\xfe"}


def test_a_digest_may_vouch_for_a_missing_end_marker(target: Target) -> None:
    target.unpack(file(b"a"), end=b"", end_marker=False)
    assert (target.path / "a").exists()


def test_the_entry_cap_holds(target: Target) -> None:
    with pytest.raises(InvalidRequest, match="too many entries"):
        target.unpack(file(b"a") + file(b"b") + file(b"c"), max_entries=2)


def test_a_stream_that_stalls_ends_at_the_deadline(target: Target) -> None:
    read, write = os.pipe()
    directory_fd = os.open(target.path, os.O_RDONLY)
    try:
        with pytest.raises(Unavailable, match="too long"):
            separate.unpack({"max_bytes": 1, "deadline_s": 0.2}, [read, directory_fd])
    finally:
        for descriptor in (read, write, directory_fd):
            os.close(descriptor)


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "pax"])
def test_a_tree_comes_out_as_gnu_tar_would_unpack_it(target: Target, tmp_path: Path, form: str) -> None:
    source = tmp_path / "source"
    (source / "d" / "e").mkdir(parents=True)
    (source / "d" / "e" / "file").write_bytes(b"x" * 3000)
    os.link(source / "d" / "e" / "file", source / "hard")
    (source / "soft").symlink_to("d/e/file")
    if form not in ("v7", "ustar"):
        (source / ("n" * 200)).write_text("long")
        (source / "long").symlink_to("t" * 300)
        os.mkfifo(source / "fifo")
    os.chown(source / "d", 12, 34)
    os.chmod(source / "d", 0o2750)
    archive = subprocess.run(
        ["tar", f"--format={form}", "-C", str(source), "-cf", "-", "."], check=True, stdout=subprocess.PIPE
    ).stdout
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["tar", "-C", str(other), "-xpf", "-"], input=archive, check=True)
    target.unpack(archive, end=b"")

    def relative(root: Path) -> dict[str, tuple[object, ...]]:
        found = snapshot(root)
        return {name.removeprefix(str(root)): values for name, values in found.items()}

    assert relative(target.path) == relative(other)
    shutil.rmtree(other)
