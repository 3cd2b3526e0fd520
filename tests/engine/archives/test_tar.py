"""The parser against archives that others wrote, and the index."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from engine.archives.index import Index
from engine.archives.tar import Entry, Kind, Reader
from engine.errors import Corrupt
from tests.engine.archives.tars import END, base256, file, hardlink, header, pax, symlink

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.HARDLINK,
    tarfile.FIFOTYPE: Kind.FIFO,
    tarfile.CHRTYPE: Kind.CHARACTER,
}


def entries(archive: bytes, **options: bool) -> list[Entry]:
    return list(Reader(io.BytesIO(archive), **options))


@pytest.mark.parametrize("form", FORMATS)
def test_python_archives_read_as_written(form: str) -> None:
    raw = io.BytesIO()
    wide = form != "ustar"
    wanted = []
    with tarfile.open(fileobj=raw, mode="w", format=FORMATS[form]) as tar:
        for number, kind in enumerate(KINDS):
            info = tarfile.TarInfo(f"{'long/' * (60 if wide else 30)}name{number}")
            info.type, info.mode, info.mtime = kind, 0o1751, -5 if form == "gnu" else 1234
            info.uid, info.gid = (3_000_000, 2_999_999) if wide else (70_000, 80_000)
            info.linkname = "t" * (300 if wide else 90) if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.size = 700 if kind == tarfile.REGTYPE else 0
            info.devmajor, info.devminor = (8, 17) if kind == tarfile.CHRTYPE else (0, 0)
            tar.addfile(info, io.BytesIO(b"x" * info.size))
            wanted.append((info.name, KINDS[kind], info.uid, info.gid, info.size, info.mtime * 10**9, info.linkname))
    found = entries(raw.getvalue())
    assert [
        (e.name.rstrip(b"/").decode(), e.kind, e.uid, e.gid, e.size, e.mtime_ns, e.link.decode()) for e in found
    ] == wanted
    assert {e.mode for e in found} == {0o1751}
    assert found[-1].device == (8, 17)


def test_data_come_in_order_and_unread_data_are_skipped() -> None:
    reader = Reader(io.BytesIO(file(b"a", b"1" * 1000) + file(b"b", b"2" * 513) + file(b"c", b"3") + END))
    got = {entry.name: b"".join(reader.chunks()) for entry in reader if entry.name != b"b"}
    assert got == {b"a": b"1" * 1000, b"c": b"3"}


def test_a_source_may_give_one_byte_at_a_time() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(1, size or 0))

    assert [entry.name for entry in Reader(Slow(file(b"a", b"x" * 700) + file(b"b") + END))] == [b"a", b"b"]


def test_fractions_of_a_second_are_kept() -> None:
    times = [b"1.5", b"-1.25", b"0.123456789999", b"7"]
    archive = b"".join(pax({b"mtime": time}) + file(b"a") for time in times) + END
    assert [e.mtime_ns for e in entries(archive)] == [1_500_000_000, -1_250_000_000, 123_456_789, 7_000_000_000]


def test_binary_numbers_and_times_before_1970() -> None:
    (entry,) = entries(header(b"a", uid=base256(2_000_000, 8), mtime=base256(-86400, 12)) + END)
    assert (entry.uid, entry.mtime_ns) == (2_000_000, -86400 * 10**9)


def test_v7_marks_directories_by_their_slash() -> None:
    (entry,) = entries(header(b"d/", b"\0", magic=bytes(8)) + END)
    assert entry.kind is Kind.DIRECTORY


def test_only_files_have_data_whatever_their_size_says() -> None:
    archive = header(b"d", b"5", size=b"00000001000\0") + header(b"h", b"1", link=b"a", size=b"00000001000\0") + END
    assert [entry.size for entry in entries(archive)] == [0, 0]


def test_a_pax_header_is_for_one_entry_only() -> None:
    assert [e.name for e in entries(pax({b"path": b"other"}) + file(b"a") + file(b"b") + END)] == [b"other", b"b"]


def test_a_global_comment_is_no_matter() -> None:
    assert [e.name for e in entries(pax({b"comment": b"git"}, b"g") + file(b"a") + END)] == [b"a"]


def test_an_error_label_is_short_and_printable() -> None:
    (entry,) = entries(pax({b"path": b"\x1b[31m" + b"x" * 3000}) + file(b"a") + END)
    assert len(entry.label) <= 200
    assert entry.label.isprintable()


def test_the_index_finds_files_by_name_and_through_links() -> None:
    archive = (
        file(b"./a/layer.tar", b"data") + symlink(b"b/layer.tar", b"../a/layer.tar") + hardlink(b"c", b"a/layer.tar")
    )
    index = Index(io.BytesIO(archive + END))
    member = index.find("a/layer.tar")
    assert member is not None
    assert archive[member.offset : member.offset + member.size] == b"data"
    assert index.find("b/layer.tar") == index.find("c") == member
    assert index.find("missing") is None


def test_links_of_the_index_lead_to_no_host_file_and_end() -> None:
    archive = symlink(b"a", b"/etc/passwd") + symlink(b"b", b"../../etc/passwd") + symlink(b"c", b"c") + END
    index = Index(io.BytesIO(archive))
    assert [index.find(name) for name in "abc"] == [None, None, None]


def test_the_index_takes_the_last_of_a_name() -> None:
    index = Index(io.BytesIO(file(b"a", b"1") + file(b"a", b"22") + END))
    member = index.find("a")
    assert member is not None
    assert member.size == 2


def test_the_index_gives_up_on_large_archives() -> None:
    raw = io.BytesIO(b"".join(file(b"%d" % number) for number in range(30)) + END)
    assert not Index(raw, entries=29).complete
    assert Index(raw, entries=30).complete


def test_the_index_sees_a_file_cut_off(tmp_path: Path) -> None:
    with pytest.raises(Corrupt):
        Index(io.BytesIO(file(b"a", b"x" * 2000)[:1500]))
