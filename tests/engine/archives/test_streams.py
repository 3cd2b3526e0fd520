"""Decompression outside of the worker: every format, damage, and bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import resource
import subprocess
import zlib
from collections.abc import Callable
from functools import cache

import pytest

from engine.archives import streams
from engine.archives.streams import Bounded, Decompressed, DiskGuard, Hashed
from engine.errors import Corrupt, InvalidRequest, KernelError, Unsupported

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": cache(gzip.compress),
    "bzip2": cache(bz2.compress),
    "xz": cache(lzma.compress),
}
DATA = random.Random(1).randbytes(3_000_000) + b"text " * 100_000


def plain(data: bytes, max_bytes: int = 2**30) -> bytes:
    return b"".join(Decompressed(io.BytesIO(data), max_bytes=max_bytes))


@pytest.mark.parametrize("kind", PACKERS)
def test_a_stream_is_recognised_and_read(kind: str) -> None:
    assert plain(PACKERS[kind](DATA)) == DATA
    assert Decompressed(io.BytesIO(PACKERS[kind](DATA)), max_bytes=1).compression == kind


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_members_in_a_row_are_one_stream(kind: str) -> None:
    assert plain(PACKERS[kind](b"one") + PACKERS[kind](b"") + PACKERS[kind](b"two")) == b"onetwo"


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("cut", [7, 20, 1000, 1_000_000, -1])
def test_a_stream_that_is_cut_off_is_damaged(kind: str, cut: int) -> None:
    with pytest.raises(Corrupt):
        plain(PACKERS[kind](DATA)[:cut])


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_a_flipped_byte_is_damage(kind: str) -> None:
    packed = bytearray(PACKERS[kind](DATA))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(Corrupt):
        plain(bytes(packed))


def test_rubbish_behind_a_stream_is_damage_but_zeros_are_padding() -> None:
    assert plain(gzip.compress(b"x") + bytes(1000)) == b"x"
    with pytest.raises(Corrupt):
        plain(gzip.compress(b"x") + b"rubbish")


def test_short_and_empty_streams() -> None:
    assert plain(b"") == b""
    assert plain(b"abc") == b"abc"


def test_zstd_says_how_to_go_on() -> None:
    with pytest.raises(Unsupported) as caught:
        plain(b"\x28\xb5\x2f\xfd" + bytes(100))
    assert "zstd -d" in caught.value.hint


def gzip_of_zeros(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(2**20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


def test_a_gzip_bomb_stops_early_and_in_little_memory() -> None:
    bomb = gzip_of_zeros(2**29)  # half a megabyte
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stream = Decompressed(io.BytesIO(bomb), max_bytes=2**40)
    with pytest.raises(InvalidRequest, match="200 times"):
        for _ in stream:
            pass
    assert stream.written_bytes <= 300 * 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_other_bombs_stop_too(pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InvalidRequest, match="200 times"):
        plain(pack(bytes(101 * 2**20)))


def test_the_cap_on_bytes_holds_for_plain_streams_too() -> None:
    with pytest.raises(InvalidRequest, match="more than 10 bytes"):
        plain(b"x" * 11, max_bytes=10)


def test_xz_may_not_ask_for_much_memory() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**29, "preset": 0}]
    packer = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=filters)
    with pytest.raises(Corrupt):
        plain(packer.compress(b"x" * 100) + packer.flush())


def test_a_bounded_source_ends_where_it_must() -> None:
    assert Bounded(io.BytesIO(b"abcdef"), 3).read(10) == b"abc"
    short = Bounded(io.BytesIO(b"ab"), 3)
    short.read(10)
    with pytest.raises(Corrupt):
        short.read(10)


def test_a_hashed_source_tells_its_digest() -> None:
    source = Hashed(io.BytesIO(b"abc"))
    source.read(10)
    digest = subprocess.run(["sha256sum"], input=b"abc", stdout=subprocess.PIPE, check=True).stdout.decode()[:64]
    assert (source.digest, source.read_bytes) == (f"sha256:{digest}", 3)


def test_a_full_disk_ends_a_write(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "RESERVE_BYTES", 2**62)
    with pytest.raises(KernelError, match="nearly full"):
        DiskGuard(str(tmp_path))(1)
