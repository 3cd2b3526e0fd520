"""`wharfie cp` and `export`: where a copy ends up, as docs.docker.com has it ("docker cp")."""

from __future__ import annotations

import io
import os
import stat
import sys
import tarfile
from pathlib import Path

import pytest

from console import copying
from console.commandline import main
from console.outfile import outfile
from engine import Config, Container, ContainerSpec, Engine


@pytest.fixture
def box(config: Config, engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Container:
    """A container that never ran, with /tree/file and /tree/sub/other; the command line works on its instance."""
    monkeypatch.setenv("WHARFIE_ROOT", str(config.root))
    monkeypatch.setenv("WHARFIE_RUN", str(config.run))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("tree", "tree/sub", "there"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o750
            tar.addfile(info)
        for name, data in (("tree/file", b"1"), ("tree/sub/other", b"2"), ("there/old", b"3"), ("setuid", b"4")):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid = len(data), 0o4755 if name == "setuid" else 0o640, 12
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "tree/file"
        tar.addfile(link)
    archive.seek(0)
    engine.load_image(archive, name="files")
    monkeypatch.chdir(tmp_path)
    return engine.create(ContainerSpec(image="files", command=("none",), name="box"))


def below(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


def inside(engine: Engine, path: str) -> dict[str, str]:
    """All files below a directory of the container."""
    with engine.files.copy_out("box", path, "") as stream:
        data = b"".join(iter(stream.read, b""))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read().decode() for m in tar if m.isfile()}  # type: ignore[union-attr]


TREE = {"file": "1", "sub/other": "2"}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("/tree/file", "new", {"new": "1"}),
        ("/tree/file", "here", {"here/file": "1"}),
        ("/tree/file", "here/", {"here/file": "1"}),
        ("/tree/file", "taken", {"taken": "1"}),
        ("tree/file", ".", {"file": "1"}),
        ("/tree/file", "nowhere/", None),
        ("/tree/file", "nowhere/new", None),
        ("/tree/file/", "new", None),
        ("/tree", "new", {f"new/{name}": text for name, text in TREE.items()}),
        ("/tree", "new/", {f"new/{name}": text for name, text in TREE.items()}),
        ("/tree/", "here", {f"here/tree/{name}": text for name, text in TREE.items()}),
        ("/tree", "here", {f"here/tree/{name}": text for name, text in TREE.items()}),
        ("/tree/.", "here", {f"here/{name}": text for name, text in TREE.items()}),
        ("/tree/.", "new", {f"new/{name}": text for name, text in TREE.items()}),
        ("/tree", "taken", None),
        ("/tree/sub/../file", "new", {"new": "1"}),
        ("/none", "new", None),
    ],
)
def test_out(
    box: Container, tmp_path: Path, source: str, target: str, expected: dict[str, str] | None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "here").mkdir()
    (tmp_path / "taken").write_text("before")
    before = below(tmp_path)
    code = main(["cp", f"box:{source}", target])
    if expected is None:
        assert code == 125
        assert below(tmp_path) == before
        assert len(capsys.readouterr().err.splitlines()) == 2, "an error and what to do"
    else:
        assert code == 0, capsys.readouterr().err
        assert below(tmp_path) == before | expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("tree/file", "/new", {"new": "1"}),
        ("tree/file", "/there", {"there/file": "1"}),
        ("tree/file", "there/", {"there/file": "1"}),
        ("tree/file", "/there/old", {"there/old": "1"}),
        ("tree/file", "/nowhere/", None),
        ("tree/file", "/nowhere/new", None),
        ("tree", "/new", {f"new/{name}": text for name, text in TREE.items()}),
        ("tree", "/there", {f"there/tree/{name}": text for name, text in TREE.items()}),
        ("tree/.", "/there", {f"there/{name}": text for name, text in TREE.items()}),
        ("tree/.", "/new", {f"new/{name}": text for name, text in TREE.items()}),
        ("tree", "/there/old", None),
        ("none", "/there", None),
    ],
)
def test_in(
    engine: Engine, box: Container, tmp_path: Path, source: str, target: str, expected: dict[str, str] | None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/file").write_text("1")
    (tmp_path / "tree/sub/other").write_text("2")
    before = inside(engine, "/")
    code = main(["cp", source, f"box:{target}"])
    if expected is None:
        assert code == 125
        assert inside(engine, "/") == before
        assert len(capsys.readouterr().err.splitlines()) == 2, "an error and what to do"
    else:
        assert code == 0, capsys.readouterr().err
        assert inside(engine, "/") == before | expected


def test_links_are_copied_unless_followed(box: Container, tmp_path: Path) -> None:
    assert main(["cp", "box:/link", "as-link"]) == 0
    assert os.readlink("as-link") == "tree/file"
    assert main(["cp", "-L", "box:/link", "as-file"]) == 0
    assert (tmp_path / "as-file").read_text() == "1"
    assert not (tmp_path / "as-file").is_symlink()


def test_owners_are_the_callers_unless_archived_and_no_set_id_bit_comes_to_the_host(
    engine: Engine, box: Container, tmp_path: Path
) -> None:
    assert main(["cp", "box:/setuid", "mine"]) == 0
    assert ((tmp_path / "mine").stat().st_uid, oct((tmp_path / "mine").stat().st_mode)) == (0, "0o100755")
    assert main(["cp", "-a", "box:/tree/file", "theirs"]) == 0
    assert (tmp_path / "theirs").stat().st_uid == 12
    os.chown(tmp_path / "theirs", 33, 34)
    assert main(["cp", "theirs", "box:/there/root"]) == 0
    assert main(["cp", "-a", "theirs", "box:/there/kept"]) == 0
    assert engine.files.stat("box", "/there/root").uid == 0
    assert engine.files.stat("box", "/there/kept").gid == 34


def test_tar_streams_and_export(
    engine: Engine, box: Container, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert main(["cp", "box:/tree", "-"]) == 0
    data = capfdbinary.readouterr().out
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["tree", "tree/file", "tree/sub", "tree/sub/other"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["cp", "-", "box:/there"]) == 0
    assert inside(engine, "/there/tree") == TREE
    assert main(["export", "-o", "all.tar", "box"]) == 0
    with tarfile.open(tmp_path / "all.tar") as tar:
        assert {"tree/file", "there/old", "there/tree/file"} <= set(tar.getnames())


def test_an_export_that_breaks_off_leaves_what_was_there(
    box: Container, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "all.tar").write_text("before")
    (tmp_path / "link.tar").symlink_to("all.tar")
    assert main(["export", "-o", "link.tar", "absent"]) == 125
    with pytest.raises(ZeroDivisionError), outfile("link.tar", "the archive") as file:
        file.write(bytes(1 // 0))
    assert (tmp_path / "all.tar").read_text() == "before"
    assert not list(tmp_path.glob(".all.tar.*"))
    assert main(["export", "-o", "link.tar", "box"]) == 0
    assert tarfile.is_tarfile(tmp_path / "all.tar")
    assert main(["export", "-o", "none/all.tar", "box"]) == 125
    assert "writing the archive" in capsys.readouterr().err
    os.mknod(tmp_path / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    assert main(["export", "-o", "null", "box"]) == 0
    assert (tmp_path / "null").is_char_device()


@pytest.mark.parametrize("both", [("a", "b"), ("x:/a", "y:/b"), ("-", "-"), ("./x:/a", "/y:/b")])
def test_one_side_is_a_container_and_one_is_not(
    box: Container, both: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cp", *both]) == 125
    assert "one of the two" in capsys.readouterr().err


def test_names_with_colons() -> None:
    assert copying.split("box:/a:b") == ("box", "/a:b")
    assert copying.split("box:a") == ("box", "/a")
    assert copying.split("./a:b") == (None, "./a:b")
    assert copying.split("-") == (None, "-")


def test_diff_and_commit(engine: Engine, box: Container, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd\nname\x1b[31m").write_text("x")
    assert main(["diff", "box"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["cp", "odd\nname\x1b[31m", "box:/there"]) == 0
    assert main(["diff", "box"]) == 0
    assert capsys.readouterr().out.splitlines() == ["C /there", "A /there/oddname"]
    assert main(["commit", "-a", "me", "-m", "why", "-c", 'CMD ["/x"]', "--no-pause", "box", "made:1"]) == 0
    image = engine.image("made:1")
    assert capsys.readouterr().out == f"{image.id}\n"
    assert (image.config.cmd, len(image.layers)) == (("/x",), 2)
    assert main(["commit", "-c", "RUN x", "box"]) == 125
    assert "CMD, ENTRYPOINT" in capsys.readouterr().err
