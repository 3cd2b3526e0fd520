"""What a container changed of its image, and images made of that."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import CommitSpec, Container, ContainerSpec, Engine, EngineError, HealthCheck, ImageConfig, State
from engine.errors import InvalidRequest
from engine.files import upper
from engine.images import instructions
from tests.conftest import eventually
from tests.engine.isolation.rows import USER_MODE

pytestmark = pytest.mark.one_engine

BASE = {"old/a": b"1", "old/b": b"2", "kept/file": b"3", "gone/file": b"4", "gone/sub/file": b"5", "turned": b"6",
        "both/x": b"7", "script": b"8"}  # fmt: skip
SCRIPT = """
set -e
rm /old/a
echo new > /old/c
rm -r /gone
mkdir /gone
echo again > /gone/file
rm /turned; mkdir /turned; echo in > /turned/x
chmod 700 /both
mkdir -p /added/deep; echo deep > /added/deep/file
ln -s /etc/passwd /added/link
ln /added/deep/file /added/hard
echo here > /added/.hidden
touch /kept/file.tmp; rm /kept/file.tmp
chown 5:6 /script
"""


@pytest.fixture
def changed(dock: Engine, tmp_path: Path) -> Container:
    """A container that has done all of SCRIPT."""
    path = tmp_path / "base.tar"
    with tarfile.open(path, "w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for name, data in BASE.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o644, 10**9
            tar.addfile(info, io.BytesIO(data))
        for applet in ("sh", "rm", "mkdir", "chmod", "chown", "ln", "touch", "cat", "env", "sleep", "ls"):
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
    dock.load_image(path, name="base")
    container = dock.create(ContainerSpec(image="base", command=("sh", "-c", SCRIPT), env=("FROM=container",)))
    dock.start(container.id)
    assert dock.wait(container.id, 30).code == 0
    return dock.inspect(container.id)


def listed(engine: Engine, ref: str) -> list[str]:
    return [f"{change.kind.value} {change.path}" for change in engine.files.changes(ref)]


def test_changes_are_told_as_docker_tells_them(dock: Engine, changed: Container) -> None:
    assert listed(dock, changed.id) == [
        "A /added",
        "A /added/.hidden",
        "A /added/deep",
        "A /added/deep/file",
        "A /added/hard",
        "A /added/link",
        "C /both",
        "C /gone",
        "C /gone/file",
        "D /gone/sub",
        "C /kept",
        "C /old",
        "D /old/a",
        "A /old/c",
        "C /script",
        "C /turned",
        "A /turned/x",
    ]


def test_who_changed_nothing_shows_nothing(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("cat", "/etc/passwd", "/opt/text")))
    assert listed(dock, container.id) == []
    dock.start(container.id)
    dock.wait(container.id, 30)
    assert listed(dock, container.id) == []
    before = dock.image("busybox")
    image = dock.commit(container.id, CommitSpec(name="same"))
    assert image.layers == before.layers
    assert image.id != before.id


def contents(engine: Engine, ref: str) -> dict[str, tuple[int, int, int, bytes, str]]:
    """Everything in a container's root but what a start makes."""
    with engine.files.export(ref) as stream:
        data = b"".join(iter(stream.read, b""))
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for m in tar:
            content = None if m.issym() else tar.extractfile(m)
            found[m.name] = (m.mode, m.uid, m.gid, content.read() if content else b"", m.linkname if m.issym() else "")
    return found


def test_an_image_of_it_has_the_same_files_and_runs(dock: Engine, changed: Container) -> None:
    spec = CommitSpec(
        name="made:1", author="somebody", message="why not", changes=('CMD ["cat", "/old/c"]', "ENV A=1 B='2 3'")
    )
    image = dock.commit(changed.id, spec)
    assert image.tags == ("made:1",)
    assert len(image.layers) == 2
    again = dock.create(ContainerSpec(image="made:1"))
    assert contents(dock, again.id) == contents(dock, changed.id)
    assert listed(dock, again.id) == []
    dock.start(again.id)
    assert dock.wait(again.id, 30).code == 0
    assert [line.text for line in dock.logs(again.id)] == ["new"]
    assert {"A=1", "B=2 3", "FROM=container"} <= set(image.config.env)
    text = dock._database.rows("SELECT config FROM images WHERE id = ?", (image.id,))[0]["config"]
    assert image.id == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    document = json.loads(text)
    assert document["rootfs"]["diff_ids"] == [layer.diff_id for layer in image.layers]
    assert document["author"] == "somebody"
    assert [entry.get("comment") for entry in document["history"]] == ["nothing is known of this layer", "why not"]
    second = dock.commit(again.id, CommitSpec(name="made:1"))  # an image of an image; the tag moves
    assert second.layers == image.layers
    assert dock.image(image.id).tags == ()


def layout(engine: Engine, image_id: str, layers: list[bytes], top: Path) -> None:
    """An OCI layout of an image of the engine; OCI image-spec image-layout.md."""
    blobs = top / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    config = engine._database.rows("SELECT config FROM images WHERE id = ?", (image_id,))[0]["config"].encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(config, "config.v1+json"),
        "layers": [blob(layer, "layer.v1.tar") for layer in layers],
    }
    entry = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (top / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (top / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


@pytest.mark.parametrize("check", [HealthCheck(("true",), interval_s=0.5, retries=7), None])
def test_an_image_of_it_has_its_health_check(dock: Engine, check: HealthCheck | None) -> None:
    spec = ContainerSpec(image="busybox", command=("sleep", "1000"))
    first = dock.create(dataclasses.replace(spec, health=HealthCheck(("false",))))
    dock.commit(first.id, CommitSpec(name="checked"))
    second = dock.create(dataclasses.replace(spec, image="checked", health=check or HealthCheck(())))
    dock.commit(second.id, CommitSpec(name="made"))
    assert dock.image("checked").config.health == HealthCheck(("false",))
    assert dock.image("made").config.health == check


@pytest.mark.peer
def test_other_tools_read_what_was_made(dock: Engine, changed: Container, tmp_path: Path) -> None:
    with dock.files.layer(changed.id) as stream:
        layer = b"".join(iter(stream.read, b""))
    image = dock.commit(changed.id, CommitSpec(author="somebody", changes=("LABEL a=b", "EXPOSE 80")))
    assert image.layers[1].diff_id == f"sha256:{hashlib.sha256(layer).hexdigest()}"
    layout(dock, image.id, [(tmp_path / "base.tar").read_bytes(), layer], tmp_path / "oci")
    seen = subprocess.run(["skopeo", "inspect", f"oci:{tmp_path}/oci:x"], check=True, stdout=subprocess.PIPE).stdout
    assert json.loads(seen)["Labels"] == {"a": "b"}
    subprocess.run(
        ["umoci", "unpack", "--image", f"{tmp_path}/oci:x", str(tmp_path / "bundle")], check=True, capture_output=True
    )
    root = tmp_path / "bundle/rootfs"
    again = dock.create(ContainerSpec(image=image.id, command=("true",)))
    ours = {name: facts for name, facts in contents(dock, again.id).items() if name.split("/")[0] not in
            ("dev", "proc", "sys", "etc", ".")}  # fmt: skip
    theirs = {str(path.relative_to(root)): path for path in root.rglob("*")}
    assert ours.keys() == theirs.keys()
    for name, (mode, uid, gid, data, link) in ours.items():
        status = theirs[name].lstat()
        assert (status.st_uid, status.st_gid) == (uid, gid), name
        if link:
            assert os.readlink(theirs[name]) == link
        else:
            assert status.st_mode & 0o7777 == mode, name
            assert theirs[name].is_dir() or not data or theirs[name].read_bytes() == data


def test_a_running_one_is_paused_meanwhile_and_goes_on(dock: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", "echo x > /tmp/x; sleep 1000")))
    dock.start(container.id)
    assert eventually(lambda: "A /tmp/x" in listed(dock, container.id))
    seen = []
    layer = dock.files.layer
    monkeypatch.setattr(dock.files, "layer", lambda ref: (seen.append(dock.inspect(ref).state), layer(ref))[1])
    dock.commit(container.id, CommitSpec(name="one"))
    dock.commit(container.id, CommitSpec(name="two", pause=False))
    assert dock.inspect(container.id).state is State.RUNNING
    dock.pause(container.id)
    dock.commit(container.id, CommitSpec(name="three"))
    assert dock.inspect(container.id).state is State.PAUSED
    assert seen == [State.PAUSED, State.RUNNING, State.PAUSED]


def test_a_container_that_forges_whiteouts_gets_no_image(dock: Engine) -> None:
    script = "echo x > /opt/.wh.text"
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script)))
    dock.start(container.id)
    dock.wait(container.id, 30)
    before = {image.id for image in dock.images()}
    with pytest.raises(InvalidRequest, match="no image can hold"):
        dock.commit(container.id, CommitSpec(name="forged"))
    assert {image.id for image in dock.images()} == before
    assert list(dock.paths.tmp.iterdir()) == []


def test_what_makes_no_image_leaves_none(dock: Engine, changed: Container) -> None:
    before = {image.id for image in dock.images()}
    for spec in (
        CommitSpec(name="UPPER:CASE"),
        CommitSpec(author="x" * 5000),
        CommitSpec(changes=("RUN true",)),
        CommitSpec(changes=("CMD",)),
        CommitSpec(changes=("WORKDIR /a/../b",)),
    ):
        with pytest.raises(EngineError) as caught:
            dock.commit(changed.id, spec)
        assert caught.value.hint
    assert {image.id for image in dock.images()} == before


@pytest.fixture
def redirecting() -> Iterator[None]:
    """A kernel whose default is to redirect: a guest's, which nobody shares. The host's own default is left alone."""
    if not USER_MODE:
        yield
        return
    default = Path("/sys/module/overlay/parameters/redirect_dir")
    before = default.read_text()
    default.write_text("Y")
    yield
    default.write_text(before)


def test_a_layer_is_whole_on_a_kernel_whose_default_is_to_redirect(dock: Engine, redirecting: None) -> None:
    """A renamed directory of the image is in the upper directory as a whole."""
    script = "/bin/busybox mv /opt /moved; cat /moved/text"
    container = dock.create(ContainerSpec(image="busybox", command=("sh", "-c", script)))
    dock.start(container.id)
    assert dock.wait(container.id, 30).code == 0
    upper = dock.paths.container(container.id) / "upper"
    assert os.listxattr(upper / "moved") == []
    image = dock.commit(container.id, CommitSpec())
    again = dock.create(ContainerSpec(image=image.id, command=("cat", "/moved/text")))
    dock.start(again.id)
    assert dock.wait(again.id, 30).code == 0


@pytest.mark.parametrize(
    ("lines", "changed_to"),
    [
        (["CMD a b"], {"cmd": ("/bin/sh", "-c", "a b")}),
        (['cmd ["a", "b"]'], {"cmd": ("a", "b")}),
        (['ENTRYPOINT ["a"]'], {"entrypoint": ("a",), "cmd": ()}),
        (['CMD ["x"]', 'ENTRYPOINT ["a"]'], {"entrypoint": ("a",), "cmd": ("x",)}),
        (["ENV A=1 B='2 3'"], {"env": ("OLD=1", "A=1", "B=2 3")}),
        (["ENV OLD some text"], {"env": ("OLD=some text",)}),
        (["LABEL a=b"], {"labels": {"a": "b"}}),
        (["USER 5:6", "STOPSIGNAL INT"], {"user": "5:6", "stop_signal": "INT"}),
        (["WORKDIR sub", "WORKDIR dir"], {"workdir": "/srv/sub/dir"}),
        (["EXPOSE 80 53/udp"], {"exposed_ports": ("53/udp", "80/tcp")}),
        (["VOLUME /a /b"], {"volumes": ("/a", "/b")}),
        (["ONBUILD RUN true"], {"on_build": ("RUN true",)}),
    ],
)
def test_instructions(lines: list[str], changed_to: dict[str, object]) -> None:
    before = ImageConfig(env=("OLD=1",), cmd=("old",), workdir="/srv")
    after = instructions.apply(before, lines)
    assert {name: getattr(after, name) for name in changed_to} == changed_to


@pytest.mark.parametrize("line", ["", "CMD", "ADD a b", "ENV A", "EXPOSE x", "LABEL 'a", "STOPSIGNAL none"])
def test_what_is_no_instruction_is_refused(line: str) -> None:
    with pytest.raises(InvalidRequest):
        instructions.apply(ImageConfig(), [line])


def test_directories_without_end_are_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's root walks them, whose memory is everybody's."""
    (tmp_path / "wide").mkdir()
    for number in range(200):
        (tmp_path / "wide" / f"{number}").mkdir()
    assert upper.opaque_directories(str(tmp_path)) == []
    monkeypatch.setattr(upper, "LEFT_BYTES", 1000)
    with pytest.raises(InvalidRequest, match="too many directories"):
        upper.opaque_directories(str(tmp_path))
    monkeypatch.undo()
    deep = os.open(tmp_path, os.O_PATH)
    for _ in range(20):
        os.mkdir("n" * 250, dir_fd=deep)
        above, deep = deep, os.open("n" * 250, os.O_PATH, dir_fd=deep)
        os.close(above)
    os.close(deep)
    with pytest.raises(InvalidRequest, match="more than 4095 bytes"):
        upper.opaque_directories(str(tmp_path))
