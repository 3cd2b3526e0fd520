"""Generated archives: the parser ends, with entries or a typed error, whatever it is given."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.archives.tar import DEPTH, Entry, Reader, components
from engine.archives.whiteouts import hidden_name
from engine.errors import EngineError
from tests import leaks
from tests.engine.archives import separate
from tests.engine.archives.conftest import Target
from tests.engine.archives.tars import END, base256, file, header, pax, snapshot, symlink
from tests.soak import amount

names = st.lists(
    st.sampled_from([b"..", b".", b"", b"a", b"d", b".wh.a", b".wh..wh..opq", b".wh.", b"\xff", b"n" * 300]), max_size=6
).map(b"/".join)
numbers = st.binary(min_size=12, max_size=12) | st.integers(0, 2000).map(lambda n: b"%011o\0" % n)
kinds = st.sampled_from([bytes([n]) for n in b"0123456xgLKS\0?"])
blocks = st.one_of(
    st.builds(lambda name, kind, size, link: header(name, kind, size=size, link=link), names, kinds, numbers, names),
    st.builds(file, names, st.binary(max_size=600)),
    st.builds(lambda records: pax(records), st.binary(max_size=200)),
    st.builds(
        lambda records: pax(records),
        st.dictionaries(st.sampled_from([b"path", b"size", b"linkpath", b"mtime", b"uid"]), st.binary(max_size=20)),
    ),
    st.binary(max_size=1024),
)
archives = st.lists(blocks, max_size=8).map(b"".join)


def read_all(data: bytes) -> list[Entry]:
    found = []
    reader = Reader(io.BytesIO(data), end_marker=False)
    for entry in reader:
        assert sum(map(len, reader.chunks())) == entry.size >= 0
        found.append(entry)
    return found


@settings(max_examples=1000, deadline=2000)
@given(archives | st.binary(max_size=3000))
def test_the_parser_ends_with_entries_or_a_typed_error(data: bytes) -> None:
    with contextlib.suppress(EngineError):
        read_all(data)


@settings(max_examples=500)
@given(names)
def test_components_never_lead_out(name: bytes) -> None:
    try:
        parts = components(name, "")
        hidden = hidden_name(parts, "")
    except EngineError:
        return
    assert not set(parts) & {b"", b".", b".."}
    assert len(parts) <= DEPTH
    assert hidden is None or (hidden not in (b".", b"..") and b"/" not in hidden)


@settings(max_examples=300)
@given(st.binary(min_size=512, max_size=512))
def test_random_blocks_are_refused(block: bytes) -> None:
    if block != bytes(512):
        with pytest.raises(EngineError):
            read_all(block)


SEED = 20_261_124
PARTS = (b"..", b".", b"", b"a", b"d", b".wh.a", b".wh..wh..opq", b"..wh.b", b"\xff", b"n" * 300, b"proc", b"self")
KINDS = b"0123456xgLKS\0?"
TEXTS = (b"../host/victim", b"../host", b"/proc/self/root", b"d", b"a", b"..", b"/", b"l/../../host", b"")


def generated(seed: int) -> bytes:
    """An archive of 1 to 12 entries, of which each may be wrong in a way of its own."""
    chance = random.Random(seed)

    def name() -> bytes:
        if chance.random() < 0.7:
            return b"/".join(chance.choices((b"a", b"d", b"x", b"y"), k=chance.randrange(1, 4)))
        return b"/".join(chance.choices((*PARTS, b"l"), k=chance.randrange(1, 5)))

    def number() -> bytes:
        value = chance.choice((0, 1, 512, 2000, -1, 2**33, 2**62))
        return chance.choice((b"%011o\0" % abs(value), base256(value, 12), chance.randbytes(12)))

    def entry() -> bytes:
        kind = chance.choices(KINDS, weights=(40, 9, 18, 1, 1, 30, 2, 6, 1, 1, 1, 1, 1, 1))[0]
        link = chance.choice((*TEXTS, name()))
        if kind in b"xg":
            key = chance.choice(
                (b"path", b"linkpath", b"size", b"uid", b"mtime", b"SCHILY.xattr.trusted.overlay.opaque")
            )
            return pax({key: chance.choice((*TEXTS, b"-1", b"9" * 20))}, bytes([kind]))
        if kind == ord("0") and chance.random() < 0.8:
            return file(name(), chance.randbytes(chance.randrange(700)))
        size = b"00000000000\0" if chance.random() < 0.95 else number()
        data = header(name(), bytes([kind]), size=size, link=link)
        return data if chance.random() < 0.98 else data[: chance.randrange(512)]

    start = symlink(b"l", chance.choice(TEXTS)) if chance.random() < 0.5 else b""
    return start + b"".join(entry() for _ in range(chance.randrange(1, 9)))


def test_generated_archives_never_leave_the_target() -> None:
    """By the real worker: nothing beside the target changes, none hangs, and none takes much memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix=f"{leaks.NAME}{leaks.session()}-") as top:
        surroundings = Target(Path(top))
        before = snapshot(surroundings.host)
        outcomes: Counter[int] = Counter()
        with separate.Unpacker() as unpacker:
            for seed in range(SEED, SEED + amount(1000, 20_000)):
                answer = unpacker.unpack(generated(seed) + END, surroundings.path)
                outcomes[answer["code"]] += 1
                assert answer["code"] in (0, 2), seed
                assert answer["took_s"] < 2, seed
                assert answer["kib"] < 200 * 1024, seed
                assert snapshot(surroundings.host) == before, seed
                assert set(os.listdir(top)) == {"host", "target"}, seed
                shutil.rmtree(surroundings.path)
                surroundings.path.mkdir(mode=0o755)
    assert min(outcomes[0], outcomes[2]) > 50, "some are harmless, most are not"
