"""Archives of images as other tools write them, made small."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any

Files = dict[str, bytes]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar(files: Files) -> bytes:
    """A tar with these files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return raw.getvalue()


def config(layers: list[bytes], **changes: Any) -> Files | Any:
    """A config document for these uncompressed layers."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], "Labels": {"a": "b"}, "User": "7", "WorkingDir": "/srv"},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }
    return json.dumps(document | changes).encode()


def docker_save(
    layers: list[bytes], *tags: str, blobs: list[bytes] | None = None, document: bytes | None = None
) -> Files:
    """What `docker save` of Docker up to 24 writes; ``blobs`` are the layers as stored, perhaps compressed."""
    document = config(layers) if document is None else document
    name = f"{digest(document)[7:]}.json"
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": name, "RepoTags": list(tags) or None, "Layers": names}]
    stored = dict(zip(names, blobs or layers, strict=True))
    return {name: document} | stored | {"manifest.json": json.dumps(manifest).encode()}


def descriptor(data: bytes, kind: str, **more: Any) -> dict[str, Any]:
    """An OCI descriptor."""
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(data), "size": len(data)} | more


def oci_layout(
    layers: list[bytes],
    name: str = "",
    *,
    blobs: list[bytes] | None = None,
    document: bytes | None = None,
    manifest_changes: dict[str, Any] | None = None,
    nested: bool = False,
) -> Files:
    """An OCI image layout; ``nested`` puts an index with a foreign platform between."""
    document = config(layers) if document is None else document
    stored = [document, *(blobs or layers)]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor(document, "config.v1+json"),
            "layers": [descriptor(blob, "layer.v1.tar") for blob in blobs or layers],
        }
        | (manifest_changes or {})
    ).encode()
    stored.append(manifest)
    top = descriptor(manifest, "manifest.v1+json")
    if nested:
        foreign = descriptor(b"{}", "manifest.v1+json", platform={"os": "linux", "architecture": "s390x"})
        native = top | {"platform": {"os": "linux", "architecture": "amd64"}}
        index = json.dumps({"schemaVersion": 2, "manifests": [foreign, native]}).encode()
        stored.append(index)
        top = descriptor(index, "index.v1+json")
    if name:
        top["annotations"] = {"org.opencontainers.image.ref.name": name}
    files = {f"blobs/sha256/{digest(data)[7:]}": data for data in stored}
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [top]}).encode()
    return files
