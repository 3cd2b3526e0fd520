"""Loading archives: each kind, each compression, and all that must be refused without a trace."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Corrupt, EngineError, InvalidRequest, KernelError, NotFound, Unsupported
from engine.images import layers as layers_module
from tests.engine.archives.test_streams import gzip_of_zeros
from tests.engine.images.archives import config, digest, docker_save, oci_layout, tar
from tests.engine.images.conftest import Store

BASE = tar({"etc/os": b"base", "bin/sh": b"#!"})
TOP = tar({"etc/os": b"top", "etc/.wh.gone": b""})
PACKERS: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, bz2.compress, lzma.compress]


def load(store: Store, data: bytes, **options: Any) -> Any:
    return store.images.load(io.BytesIO(data), **options)


def test_a_docker_archive_brings_its_tags_and_config(store: Store) -> None:
    document = config([BASE, TOP], HostConfig={"Privileged": True})
    (image,) = load(store, tar(docker_save([BASE, TOP], "app:1", "host:5000/app", document=document)))
    assert image.id == digest(document)
    assert image.tags == ("app:1", "host:5000/app:latest")
    assert [layer.diff_id for layer in image.layers] == [digest(BASE), digest(TOP)]
    assert image.size_bytes == 4 + 2 + 3
    assert (image.config.cmd, image.config.env, image.config.user) == (("/bin/sh",), ("PATH=/bin",), "7")
    assert (image.config.workdir, image.config.labels, image.config.stop_signal) == ("/srv", {"a": "b"}, "SIGTERM")
    assert (store.paths.layer(digest(BASE)) / "etc/os").read_bytes() == b"base"
    assert store.paths.layer(digest(BASE)).stat().st_mode & 0o7777 == 0o755
    assert store.events == [("image", "load", image.id, "app:1")]


@pytest.mark.parametrize("outer", PACKERS)
@pytest.mark.parametrize("inner", PACKERS)
def test_archive_and_layers_may_be_compressed(
    store: Store, outer: Callable[[bytes], bytes], inner: Callable[[bytes], bytes]
) -> None:
    (image,) = load(store, outer(tar(docker_save([BASE], "a", blobs=[inner(BASE)]))))
    assert image.layers[0].diff_id == digest(BASE)


@pytest.mark.parametrize("nested", [False, True])
def test_an_oci_layout_is_read_for_this_host(store: Store, nested: bool) -> None:
    (image,) = load(store, tar(oci_layout([BASE, TOP], "app:2", blobs=[gzip.compress(BASE), TOP], nested=nested)))
    assert image.tags == ("app:2",)
    assert len(image.layers) == 2


def test_a_bare_tag_in_an_oci_layout_is_no_name(store: Store) -> None:
    (image,) = load(store, tar(oci_layout([BASE], "latest")))
    assert image.tags == ()
    assert store.images.get(image.short_id) == image
    (image,) = load(store, tar(oci_layout([BASE], "latest")), name="app")
    assert image.tags == ("app:latest",)


def test_a_root_file_system_takes_the_given_name_or_its_files(store: Store, saved: Path) -> None:
    saved.with_suffix(".tar.gz").write_bytes(gzip.compress(BASE))
    (image,) = store.images.load(saved.with_suffix(".tar.gz"))
    assert image.tags == ("some-image:latest",)
    assert image.config.cmd == ("/bin/sh",)
    (again,) = load(store, BASE, name="debian:12")
    assert again.id == image.id
    assert again.tags == ("debian:12", "some-image:latest")
    with pytest.raises(InvalidRequest) as caught:
        load(store, BASE)
    assert caught.value.field == "name"


def test_a_stream_that_cannot_seek_is_copied_first(store: Store) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    (image,) = store.images.load(Pipe(tar(docker_save([BASE], "a"))))
    assert image.tags == ("a:latest",)


def test_several_images_in_one_archive(store: Store) -> None:
    one, two = docker_save([BASE], "one"), docker_save([BASE, TOP], "two")
    manifest = json.loads(one["manifest.json"]) + json.loads(two["manifest.json"])
    files = one | two | {"manifest.json": json.dumps(manifest).encode()}
    assert [image.tags for image in load(store, tar(files))] == [("one:latest",), ("two:latest",)]
    with pytest.raises(InvalidRequest, match="holds 2 images"):
        load(store, tar(files), name="x")


def test_a_layer_that_is_there_is_not_unpacked_again(store: Store) -> None:
    load(store, tar(docker_save([BASE], "one")))
    inode = store.paths.layer(digest(BASE)).stat().st_ino
    load(store, tar(docker_save([BASE, TOP], "two")))
    assert store.paths.layer(digest(BASE)).stat().st_ino == inode


def test_one_layer_used_twice(store: Store) -> None:
    (image,) = load(store, tar(docker_save([BASE, TOP, BASE], "a")))
    assert [layer.diff_id for layer in image.layers] == [digest(BASE), digest(TOP), digest(BASE)]


def test_loads_at_once_unpack_a_layer_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    real = store.images._layers._unpack

    def counting(request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        calls.append(request)
        return real(request, fds)

    monkeypatch.setattr(store.images._layers, "_unpack", counting)
    barrier = threading.Barrier(6)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        barrier.wait()
        try:
            load(store, tar(docker_save([BASE, TOP], f"tag{number}")))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(calls) == 2
    assert len(store.images.list()[0].tags) == 6


def test_what_a_crash_left_is_made_again(store: Store) -> None:
    left = store.paths.layer(digest(BASE))
    left.mkdir()
    (left / "half").touch()
    workspace = store.paths.tmp / f"layer-{digest(BASE)[7:]}"
    (workspace / "tree").mkdir(parents=True)
    load(store, tar(docker_save([BASE], "a")))
    assert sorted(os.listdir(left)) == ["bin", "etc"]


def test_tidy_removes_layers_that_a_crash_left(store: Store) -> None:
    store.paths.layer(digest(BASE)).mkdir()
    store.images.tidy()
    assert store.layers() == set()


def changed(files: dict[str, bytes], name: str, data: bytes | None) -> bytes:
    """An archive with one file replaced, or left out."""
    match = next(key for key in files if key.endswith(name))
    return tar({k: (data if k == match else v) for k, v in files.items() if not (k == match and data is None)})  # type: ignore[misc]


def manifest(**changes: Any) -> bytes:
    files = docker_save([BASE], "a")
    (entry,) = json.loads(files["manifest.json"])
    return tar(files | {"manifest.json": json.dumps([entry | changes]).encode()})


def configured(**changes: Any) -> bytes:
    return tar(docker_save([BASE], "a", document=config([BASE], **changes)))


def section(**keys: Any) -> bytes:
    return configured(config=keys)


DOCKER, OCI = docker_save([BASE], "a"), oci_layout([BASE], "a:1")
LAYER = digest(BASE)[7:]
BAD: dict[str, tuple[Callable[[], bytes], type[EngineError], str]] = {
    "not a tar": (lambda: b"hello" * 500, InvalidRequest, "no tar archive"),
    "nothing": (lambda: b"", InvalidRequest, "empty"),
    "an empty tar": (lambda: tar({}), InvalidRequest, "empty"),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd" + bytes(99), Unsupported, "zstd"),
    "cut off": (lambda: tar(DOCKER)[:3000], EngineError, ""),
    "gzip cut off": (lambda: gzip.compress(tar(DOCKER))[:-9], Corrupt, "cut off"),
    "layer cut off inside": (
        lambda: tar(docker_save([BASE], "a", blobs=[gzip.compress(BASE)[:-20]])), Corrupt, "damaged",
    ),
    "layer of another content": (lambda: tar(docker_save([BASE], "a", blobs=[TOP])), Corrupt, "does not match"),
    "layer with bytes behind": (lambda: tar(docker_save([BASE], "a", blobs=[BASE + b"x"])), Corrupt, "does not match"),
    "layer that is no tar": (lambda: tar(docker_save([b"x" * 999], "a")), Corrupt, "damaged"),
    "layer that breaks out": (lambda: tar(docker_save([tar({"../x": b""})], "a")), InvalidRequest, "leads out"),
    "second layer bad": (lambda: tar(docker_save([BASE, TOP], "a", blobs=[BASE, BASE])), Corrupt, "does not match"),
    "layer bomb": (
        lambda: tar(docker_save([bytes(2**28)], "a", blobs=[gzip_of_zeros(2**28)])), InvalidRequest, "200 times",
    ),
    "archive bomb": (lambda: gzip_of_zeros(2**28), InvalidRequest, "200 times"),
    "layer missing": (lambda: changed(DOCKER, "layer.tar", None), InvalidRequest, "lacks"),
    "config missing": (lambda: changed(DOCKER, digest(config([BASE]))[7:] + ".json", None), InvalidRequest, "lacks"),
    "config changed": (
        lambda: changed(DOCKER, digest(config([BASE]))[7:] + ".json", config([BASE], x=1)), Corrupt, "its digest",
    ),
    "manifest no JSON": (lambda: tar(DOCKER | {"manifest.json": b"{"}), InvalidRequest, "not valid JSON"),
    "manifest of nesting": (lambda: tar(DOCKER | {"manifest.json": b"[" * 10**6}), InvalidRequest, "not valid JSON"),
    "manifest with a key twice": (lambda: tar(DOCKER | {"manifest.json": b'[{"a":1,"a":2}]'}), InvalidRequest, "JSON"),
    "manifest not UTF-8": (lambda: tar(DOCKER | {"manifest.json": b"\xff"}), InvalidRequest, "not valid JSON"),
    "manifest an object": (lambda: tar(DOCKER | {"manifest.json": b"{}"}), InvalidRequest, "right type"),
    "manifest without images": (lambda: tar(DOCKER | {"manifest.json": b"[]"}), InvalidRequest, "no image"),
    "manifest over its cap": (lambda: tar(DOCKER | {"manifest.json": bytes(5 * 2**20)}), InvalidRequest, "is over"),
    "config over its cap": (lambda: configured(x="y" * (9 * 2**20)), InvalidRequest, "is over"),
    "config named by a path": (lambda: manifest(Config="/etc/passwd"), InvalidRequest, "lacks"),
    "config named by a parent": (lambda: manifest(Config="../../etc/passwd"), InvalidRequest, "lacks"),
    "layer named by a number": (lambda: manifest(Layers=[1]), InvalidRequest, "right type"),
    "fewer layers than ids": (lambda: manifest(Layers=[]), InvalidRequest, "names 0 layers"),
    "tag malformed": (lambda: manifest(RepoTags=["a b"]), InvalidRequest, "not an image name"),
    "tag with a path": (lambda: manifest(RepoTags=["localhost/../x"]), InvalidRequest, "not an image name"),
    "another architecture": (lambda: configured(architecture="s390x"), Unsupported, "linux/s390x"),
    "no architecture": (lambda: configured(architecture=""), Unsupported, "linux/?"),
    "another system": (lambda: configured(os="windows"), Unsupported, "windows/amd64"),
    "no diff ids": (lambda: configured(rootfs={"diff_ids": []}), InvalidRequest, "0 layers"),
    "128 layers": (lambda: configured(rootfs={"diff_ids": [digest(BASE)] * 128}), InvalidRequest, "128 layers"),
    "diff id with a path": (lambda: configured(rootfs={"diff_ids": ["sha256:../x"]}), InvalidRequest, "sha256 digest"),
    "diff id of md5": (lambda: configured(rootfs={"diff_ids": ["md5:" + "a" * 32]}), InvalidRequest, "sha256 digest"),
    "diff id in capitals": (lambda: configured(rootfs={"diff_ids": [digest(BASE).upper()]}), InvalidRequest, "digest"),
    "rootfs missing": (lambda: configured(rootfs=None), InvalidRequest, "right type"),
    "command as text": (lambda: section(Cmd="/bin/sh"), InvalidRequest, "right type"),
    "command with NUL": (lambda: section(Cmd=["a\0b"]), InvalidRequest, "no text has"),
    "variable without value": (lambda: section(Env=["PATH"]), InvalidRequest, "not a variable"),
    "variable half a character": (lambda: section(Env=["A=\ud800"]), InvalidRequest, "no text has"),
    "workdir with a parent": (lambda: section(WorkingDir="/a/../../b"), InvalidRequest, "WorkingDir"),
    "stop signal unknown": (lambda: section(StopSignal="SIGNOPE"), InvalidRequest, "not a signal"),
    "labels as a list": (lambda: section(Labels=["a"]), InvalidRequest, "right type"),
    "OCI: version unknown": (
        lambda: tar(OCI | {"oci-layout": b'{"imageLayoutVersion": "9"}'}), Unsupported, "version 1.0.0",
    ),
    "OCI: no manifests": (lambda: tar(OCI | {"index.json": b'{"manifests": []}'}), InvalidRequest, "names 0 images"),
    "OCI: blob changed": (lambda: changed(OCI, LAYER, BASE[:-1] + b"x"), Corrupt, "does not match"),
    "OCI: blob shorter": (lambda: changed(OCI, LAYER, BASE[:-512]), Corrupt, "promised size"),
    "OCI: blob missing": (lambda: changed(OCI, LAYER, None), InvalidRequest, "lacks"),
    "OCI: config changed": (
        lambda: changed(OCI, digest(config([BASE]))[7:], config([BASE]).replace(b"srv", b"SRV")), Corrupt, "its digest",
    ),
    "OCI: two kinds in one": (
        lambda: tar(oci_layout([BASE], manifest_changes={"manifests": []})), InvalidRequest, "media type",
    ),
    "OCI: media type lies": (
        lambda: tar(oci_layout([BASE], manifest_changes={"mediaType": "application/vnd.oci.image.index.v1+json"})),
        InvalidRequest, "media type",
    ),
    "OCI: digest with a path": (
        lambda: tar(oci_layout([BASE], manifest_changes={"layers": [{"digest": "sha256:../../../x", "size": 1}]})),
        InvalidRequest, "sha256 digest",
    ),
    "OCI: size as text": (
        lambda: tar(oci_layout([BASE], manifest_changes={"layers": [{"digest": digest(BASE), "size": "1"}]})),
        InvalidRequest, "right type",
    ),
    "OCI: only foreign platforms": (
        lambda: tar(OCI | {"index.json": OCI["index.json"].replace(b'"size"', b'"platform": {"os": "plan9"}, "size"')}),
        Unsupported, "no image for",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_archive_leaves_nothing(store: Store, name: str) -> None:
    make, error, text = BAD[name]
    with pytest.raises(error) as caught:
        load(store, make(), name="" if "tag" in name else "x")
    assert text in caught.value.message
    assert (store.rows("images"), store.rows("layers"), store.rows("tags")) == (0, 0, 0)
    assert store.layers() == set()
    assert store.events == []


def test_a_failed_load_keeps_layers_of_other_images(store: Store) -> None:
    load(store, tar(docker_save([BASE], "good")))
    with pytest.raises(Corrupt):
        load(store, tar(docker_save([BASE, TOP], "bad", blobs=[BASE, BASE])))
    assert store.layers() == {digest(BASE)}


@pytest.mark.parametrize("path", ["missing", "directory", "fifo", "nul\0"])
def test_what_is_no_file_is_refused_without_waiting(store: Store, tmp_path: Path, path: str) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises((NotFound, InvalidRequest)) as caught:
        store.images.load(tmp_path / path)
    assert caught.value.field == "source"


def test_a_malformed_name_is_refused_first(store: Store) -> None:
    with pytest.raises(InvalidRequest, match="not an image name"):
        load(store, b"", name="Not A Name")


def test_an_unpacker_that_dies_is_an_error_and_nothing_is_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def dead(request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        raise KernelError("gone")

    monkeypatch.setattr(store.images._layers, "_unpack", dead)
    big = tar({"a": bytes(2**24)})
    with pytest.raises(KernelError, match="gone"):
        load(store, tar(docker_save([big], "a")))


def test_a_full_disk_is_said_and_nothing_is_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(layers_module.DiskGuard):
        def __call__(self, size: int) -> None:
            raise KernelError("the disk is nearly full")

    monkeypatch.setattr(layers_module, "DiskGuard", Full)
    with pytest.raises(KernelError, match="nearly full"):
        load(store, tar(docker_save([BASE], "a")))
