"""Generated archives: the parser ends, with entries or a typed error, whatever it is given."""

from __future__ import annotations

import contextlib
import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.archives.tar import DEPTH, Entry, Reader, components
from engine.archives.whiteouts import hidden_name
from engine.errors import EngineError
from tests.engine.archives.conftest import Target
from tests.engine.archives.tars import END, file, header, pax

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


def test_generated_archives_never_leave_the_target(target: Target) -> None:
    """The target fixture compares the host around it afterwards."""
    started = time.monotonic()

    @settings(max_examples=60, deadline=None, database=None)
    @given(st.lists(st.builds(linked, kinds, names, names), max_size=10).map(b"".join))
    def unpack(data: bytes) -> None:
        with contextlib.suppress(EngineError):
            target.unpack(data, end=END)

    unpack()
    assert time.monotonic() - started < 120


def linked(kind: bytes, name: bytes, link: bytes) -> bytes:
    """An entry below the victim's directory, when some link makes it so."""
    outside = link.replace(b"a", b"../host").replace(b"n" * 300, b"victim")
    return header(name, kind, link=outside)
