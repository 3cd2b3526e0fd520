"""Archives made to break out, to exhaust, or to confuse. Each is refused with an error that says what is wrong.

The `target` fixture checks that the host's files around the target never change.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from engine.errors import Corrupt, EngineError, InvalidRequest, Unsupported
from tests.engine.archives.conftest import Target
from tests.engine.archives.separate import TOP, UID_BASE
from tests.engine.archives.tars import base256, directory, file, gnu, hardlink, header, octal, padded, pax, symlink

HOST = b"../host"
deep = b"/".join([b"d"] * 257)

# name -> (archive, error class, part of its message). @HOST@ stands for the absolute path of the host's directory.
CASES: dict[str, tuple[bytes, type[EngineError], str]] = {
    # Names that lead out
    "parent": (file(HOST + b"/new", b"x"), InvalidRequest, "leads out"),
    "parent of a victim": (file(HOST + b"/victim", b"x"), InvalidRequest, "leads out"),
    "parent in the middle": (file(b"a/../../host/victim", b"x"), InvalidRequest, "leads out"),
    "parent that stays inside": (file(b"a/../b", b"x"), InvalidRequest, "leads out"),
    "parent at the end": (directory(b"a/.."), InvalidRequest, "leads out"),
    "parent alone": (directory(b".."), InvalidRequest, "leads out"),
    "parent after a dot": (file(b"./../host/victim", b"x"), InvalidRequest, "leads out"),
    "absolute file": (file(b"@HOST@/victim", b"x"), InvalidRequest, "absolute"),
    "absolute directory": (directory(b"/", mode=b"0000777\0"), InvalidRequest, "absolute"),
    "absolute with two slashes": (file(b"//etc/passwd", b"x"), InvalidRequest, "absolute"),
    "absolute by prefix": (file(b"passwd", b"x", prefix=b"/etc"), InvalidRequest, "absolute"),
    "parent by prefix": (file(b"victim", b"x", prefix=HOST), InvalidRequest, "leads out"),
    "parent by pax": (pax({b"path": HOST + b"/victim"}) + file(b"a", b"x"), InvalidRequest, "leads out"),
    "parent by GNU long name": (gnu(b"L", HOST + b"/victim") + file(b"a", b"x"), InvalidRequest, "leads out"),
    "pax after GNU": (gnu(b"L", b"a") + pax({b"path": b"/x"}) + file(b"a"), InvalidRequest, "absolute"),
    "NUL by pax": (pax({b"path": b"a\0/../../x"}) + file(b"a"), InvalidRequest, "NUL"),
    "empty file name": (file(b"", b"x"), InvalidRequest, "without a name"),
    "file named dot": (file(b"./", b"x"), InvalidRequest, "without a name"),
    "link named dot": (symlink(b".", b"/"), InvalidRequest, "without a name"),
    # Symbolic links on the way
    "through an absolute link": (symlink(b"l", b"@HOST@") + file(b"l/victim", b"x"), InvalidRequest, "symbolic link"),
    "through a relative link": (symlink(b"l", HOST) + file(b"l/victim", b"x"), InvalidRequest, "symbolic link"),
    "through a link that stays": (
        directory(b"d") + symlink(b"l", b"d") + file(b"l/a"),
        InvalidRequest,
        "symbolic link",
    ),
    "through two links": (
        symlink(b"a", b".") + symlink(b"a/b", b"..") + file(b"a/b/x"),
        InvalidRequest,
        "symbolic link",
    ),
    "directory through a link": (symlink(b"l", HOST) + directory(b"l/new"), InvalidRequest, "symbolic link"),
    "whiteout through a link": (symlink(b"l", HOST) + file(b"l/.wh.victim"), InvalidRequest, "symbolic link"),
    "opaque on a link": (symlink(b"l", HOST) + file(b"l/.wh..wh..opq"), InvalidRequest, "symbolic link"),
    "FIFO through a link": (symlink(b"l", HOST) + header(b"l/f", b"6"), InvalidRequest, "symbolic link"),
    "link through a link": (symlink(b"l", HOST) + symlink(b"l/new", b"x"), InvalidRequest, "symbolic link"),
    "link to itself": (symlink(b"l", b"l") + file(b"l/a"), InvalidRequest, "symbolic link"),
    "directory replaced by a link": (
        directory(b"d") + file(b"d/a") + symlink(b"d", HOST) + file(b"d/victim", b"x"),
        InvalidRequest,
        "symbolic link",
    ),
    "magic link": (symlink(b"l", b"/proc/self/root") + file(b"l/etc/x", b"x"), InvalidRequest, "symbolic link"),
    "link to nothing": (symlink(b"l", b""), InvalidRequest, "link to nothing"),
    "file below a file": (file(b"a") + file(b"a/b"), InvalidRequest, "no directory"),
    # Hard links
    "hard link out": (hardlink(b"a", HOST + b"/victim"), InvalidRequest, "leads out"),
    "hard link to an absolute name": (hardlink(b"a", b"@HOST@/victim"), InvalidRequest, "absolute"),
    "hard link through a link": (symlink(b"l", HOST) + hardlink(b"a", b"l/victim"), InvalidRequest, "symbolic link"),
    "hard link to a link, then written": (
        symlink(b"l", HOST + b"/victim") + hardlink(b"h", b"l") + hardlink(b"a", b"h/x"),
        InvalidRequest,
        "",
    ),
    "hard link to nothing": (hardlink(b"a", b"missing"), InvalidRequest, "does not hold"),
    "hard link to a directory": (directory(b"d") + hardlink(b"a", b"d"), InvalidRequest, "does not hold"),
    "hard link to the root": (hardlink(b"a", b"."), InvalidRequest, "itself"),
    "hard link to itself": (file(b"a") + hardlink(b"a", b"./a"), InvalidRequest, "itself"),
    "hard link by pax": (pax({b"linkpath": HOST + b"/victim"}) + hardlink(b"a", b"b"), InvalidRequest, "leads out"),
    "hard link by GNU long link": (gnu(b"K", HOST + b"/victim") + hardlink(b"a", b"b"), InvalidRequest, "leads out"),
    "hard link to a whiteout": (file(b".wh.w") + hardlink(b"a", b"w"), InvalidRequest, "does not hold"),
    "hard link to its own parent": (file(b"d/f") + hardlink(b"d", b"d/f"), InvalidRequest, "does not hold"),
    # Whiteouts
    "whiteout of nothing": (file(b".wh."), InvalidRequest, "malformed whiteout"),
    "whiteout of dot": (file(b".wh.."), InvalidRequest, "malformed whiteout"),
    "whiteout of the parent": (file(b"d/.wh..."), InvalidRequest, "malformed whiteout"),
    "whiteout of a whiteout": (file(b".wh..wh.x"), InvalidRequest, "malformed whiteout"),
    "whiteout as AUFS metadata": (file(b".wh..wh.plnk"), InvalidRequest, "malformed whiteout"),
    "whiteout as a directory": (file(b".wh.a/b"), InvalidRequest, "whiteout used as a directory"),
    "whiteout that is a directory": (directory(b".wh.a"), InvalidRequest, "whiteout that is no file"),
    "whiteout that is a link": (symlink(b".wh.a", b"/etc"), InvalidRequest, "whiteout that is no file"),
    "opaque as a link": (symlink(b"d/.wh..wh..opq", b"/etc"), InvalidRequest, "whiteout that is no file"),
    "opaque root": (file(b".wh..wh..opq"), Unsupported, "hides all layers"),
    # Device nodes
    "block device": (header(b"sda", b"4", device=b"0000010\x000000000\0"), InvalidRequest, "device node"),
    "character device": (header(b"etc/mem", b"3", device=b"0000001\x000000001\0"), InvalidRequest, "device node"),
    "device 0:0 by hand": (header(b"w", b"3"), InvalidRequest, "device node"),
    "device in a dev further down": (header(b"a/dev/mem", b"3"), InvalidRequest, "device node"),
    "device with a negative number": (
        header(b"dev/x", b"3", device=base256(-1, 8) + b"0000000\0"),
        Corrupt,
        "device number",
    ),
    # Ids
    "user id beyond the range": (file(b"a", uid=b"0200000\0"), InvalidRequest, "user 65536"),
    "group id beyond the range": (directory(b"a", gid=base256(2**31, 8)), InvalidRequest, "group 2147483648"),
    "user id by pax": (pax({b"uid": b"4294967296"}) + file(b"a"), InvalidRequest, "user 4294967296"),
    "negative user id": (file(b"a", uid=base256(-1, 8)), Corrupt, "uid"),
    "negative user id by pax": (pax({b"uid": b"-1"}) + file(b"a"), Corrupt, "uid"),
    # Numbers
    "negative size": (header(b"a", size=base256(-512, 12)), Corrupt, "size"),
    "negative size of an extended header": (header(b"a", b"x", size=base256(-512, 12)), Corrupt, "size"),
    "size over 63 bits": (header(b"a", size=base256(2**63, 12)), Corrupt, "size"),
    "size in words": (header(b"a", size=b"12345678x\0\0\0"), Corrupt, "size"),
    "size with a minus": (header(b"a", size=b"-0000000512\0"), Corrupt, "size"),
    "negative size by pax": (pax({b"size": b"-1"}) + file(b"a"), Corrupt, "size"),
    "size by pax of 30 digits": (pax({b"size": b"9" * 30}) + file(b"a"), Corrupt, "size"),
    "size by pax too large": (pax({b"size": b"1000000"}) + file(b"a", b"x"), Corrupt, "middle of a file"),
    "size by pax too small": (pax({b"size": b"0"}) + file(b"a", b"x" * 512), Corrupt, "checksum"),
    "size over the cap": (header(b"a", size=octal(2**33 - 1, 12)), InvalidRequest, "holds more than"),
    "time out of range": (header(b"a", mtime=base256(2**62, 12)), Corrupt, "time"),
    "time by pax in words": (pax({b"mtime": b"yesterday"}) + file(b"a"), Corrupt, "time"),
    "mode in words": (header(b"a", mode=b"rwxr-xr\0"), Corrupt, "mode"),
    # Extended headers
    "pax of a gigabyte": (header(b"p", b"x", size=octal(2**30, 12)), InvalidRequest, "extended headers"),
    "long name of a gigabyte": (header(b"p", b"L", size=octal(2**30, 12)), InvalidRequest, "extended headers"),
    "many large pax": (pax({b"a": b"x" * 300_000}) * 4, InvalidRequest, "extended headers"),
    "pax record length zero": (pax(b"0 a=b\n") + file(b"a"), Corrupt, "length"),
    "pax record length lies": (pax(b"99 a=b\n") + file(b"a"), Corrupt, "length"),
    "pax record length negative": (pax(b"-5 a=b\n") + file(b"a"), Corrupt, "length"),
    "pax record without a sign": (pax(b"6 abc\n") + file(b"a"), Corrupt, "length"),
    "pax record without its newline": (pax(b"6 a=bc") + file(b"a"), Corrupt, "length"),
    "pax record of endless digits": (pax(b"1" * 1000) + file(b"a"), Corrupt, "length"),
    "pax with nothing after": (pax({b"path": b"a"}), Corrupt, "after an extended header"),
    "global pax that names": (pax({b"path": b"/etc/passwd"}, b"g") + file(b"a"), InvalidRequest, "all its entries"),
    "global pax that sizes": (pax({b"size": b"0"}, b"g") + file(b"a", b"x"), InvalidRequest, "all its entries"),
    "endless empty extended headers": (pax({}) * 5000, InvalidRequest, "too many entries"),
    # Long and deep
    "name over PATH_MAX": (pax({b"path": b"a/" * 2100}) + file(b"a"), InvalidRequest, "4200 bytes"),
    "component over NAME_MAX": (pax({b"path": b"a" * 256}) + file(b"a"), InvalidRequest, "over 255 bytes"),
    "257 directories deep": (pax({b"path": deep}) + directory(b"a"), InvalidRequest, "nests more than 256"),
    "link text over PATH_MAX": (pax({b"linkpath": b"a" * 5000}) + symlink(b"a", b""), InvalidRequest, "too long"),
    # Odd types and damage
    "GNU sparse, old": (header(b"a", b"S"), Unsupported, "sparse"),
    "GNU sparse 1.0": (pax({b"GNU.sparse.major": b"1"}) + file(b"a"), Unsupported, "sparse"),
    "GNU multi-volume": (header(b"a", b"M"), InvalidRequest, "unknown type"),
    "unknown type": (header(b"a", b"?"), InvalidRequest, "unknown type"),
    "checksum wrong": (header(b"a", checksum=b"0000001\0"), Corrupt, "checksum"),
    "checksum negative": (header(b"a", checksum=base256(-1, 8)), Corrupt, "checksum"),
    "no tar at all": (b"hello, I am no tar" * 100, Corrupt, ""),
    "text in a tar": (file(b"a") + padded(b"garbage"), Corrupt, ""),
    "terminal escapes in a name": (file(b"../\x1b]0;x\x07"), InvalidRequest, r"\x1b"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_archive_is_refused(target: Target, name: str) -> None:
    archive, error, text = CASES[name]
    if b"@HOST@" in archive:
        archive = with_path(name, os.fsencode(target.host))
    with pytest.raises(error) as caught:
        target.unpack(archive, max_entries=2000)
    assert text in caught.value.message
    assert "\x1b" not in str(caught.value)


def with_path(name: str, path: bytes) -> bytes:
    """The cases that need the host's real path, whose length the headers count."""
    through = {b"linkpath": path + (b"/victim" if "hard" in name else b"")}
    if name == "absolute file":
        return pax({b"path": path + b"/victim"}) + file(b"a", b"x")
    if name == "through an absolute link":
        return pax(through) + symlink(b"l", b"") + file(b"l/victim", b"x")
    return pax(through) + hardlink(b"a", b"")


@pytest.mark.parametrize("cut", [1, 100, 511, 512 + 1, 512 + 511, 512 + 512 + 100])
def test_a_truncated_archive_is_damaged(target: Target, cut: int) -> None:
    with pytest.raises(Corrupt):
        target.unpack((file(b"a", b"x" * 600) + file(b"b"))[:cut], end=b"", end_marker=False)


def test_an_archive_without_its_end_marker_is_damaged(target: Target) -> None:
    with pytest.raises(Corrupt, match="end marker"):
        target.unpack(file(b"a"), end=b"")


def test_the_first_bad_entry_is_named(target: Target) -> None:
    with pytest.raises(InvalidRequest) as caught:
        target.unpack(file(b"good") + file(b"../bad"))
    assert caught.value.subject == "../bad"


def test_the_worker_has_no_way_to_the_host(target: Target) -> None:
    """Asked of the worker itself: what it can see and do once it stands in the target."""
    program = f"""
import json, os, sys
sys.path.insert(0, {str(TOP)!r})
from engine.archives import sandbox
def work(stream):
    return {{"root": os.listdir("/"), "open": [fd for fd in range(20) if is_open(fd)], "uid": os.stat("/").st_uid}}
def is_open(fd):
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False
def forbidden(stream):
    return {{"child": os.fork()}}
target = os.open({str(target.path)!r}, os.O_RDONLY)
bounds = sandbox.Bounds({UID_BASE}, 1 << 20, 10)
print(json.dumps(sandbox.run(work, 0, sandbox.directory(target), bounds)))
try:
    sandbox.run(forbidden, 0, sandbox.directory(target), bounds)
except Exception as error:
    print(json.dumps(str(error)))
"""
    (target.path / "inside").touch()
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], stdout=subprocess.PIPE, check=True, timeout=30)
    seen, refusal = map(json.loads, done.stdout.splitlines())
    assert seen == {"root": ["inside"], "open": [0, 1, 2, 3, 4], "uid": 0}
    assert "signal 31" in refusal  # SIGSYS: fork is not among its calls
