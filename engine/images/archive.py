"""What an archive of images says it holds: `docker save` tars and OCI image layouts. Nothing is unpacked here.

Sources: OCI image-spec image-layout.md, image-index.md, manifest.md; Docker's manifest.json as `docker save` writes it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, BinaryIO

from engine import names
from engine.archives.index import Index, Member
from engine.errors import Corrupt, InvalidRequest, Unsupported
from engine.images.config import (
    CONFIG_BYTES,
    LAYERS,
    MANIFEST_BYTES,
    Document,
    ParsedConfig,
    host_architecture,
    parse_json,
    typed,
)
from engine.images.config import parse as parse_config
from engine.images.reference import reference as reference_of

NESTING = 3  # index in index
_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_BROKEN_HINT = "make the archive again, or copy it again"


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A layer's bytes in the archive, perhaps compressed, and their digest where the archive promises one."""

    member: Member
    digest: str | None


@dataclass(frozen=True, slots=True)
class Incoming:
    """An image in an archive: config, and blobs that belong to its diff ids one by one."""

    config: bytes
    parsed: ParsedConfig
    blobs: tuple[LayerBlob, ...]
    references: tuple[str, ...]

    @property
    def id(self) -> str:
        """The image's id: the digest of its config."""
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"


def read(file: BinaryIO, index: Index) -> list[Incoming] | None:
    """The images of an archive; None when it is neither kind, so a root file system.

    Newer `docker save` writes both kinds into one tar; its manifest.json knows the full tags, so it comes first.
    """
    archive = _Archive(file, index)
    if index.find("manifest.json"):
        return archive.docker_images()
    if index.find("oci-layout") and index.find("index.json"):
        return archive.oci_images()
    return None


class _Archive:
    def __init__(self, file: BinaryIO, index: Index) -> None:
        self._file = file
        self._index = index

    def docker_images(self) -> list[Incoming]:
        manifests = typed(self._document("manifest.json", MANIFEST_BYTES), list, "manifest.json")
        if not manifests:
            raise InvalidRequest("the archive holds no image")
        return [self._docker_image(typed(manifest, dict, "manifest.json")) for manifest in manifests]

    def _docker_image(self, manifest: Document) -> Incoming:
        name = typed(manifest.get("Config"), str, "Config")
        config = self._bytes(self._member(name), CONFIG_BYTES, "config")
        promised = name.rpartition("/")[2].removesuffix(".json")
        if names.OBJECT_ID.fullmatch(promised) and hashlib.sha256(config).hexdigest() != promised:
            raise Corrupt("the image's config does not match its digest", hint=_BROKEN_HINT)
        layers = typed(manifest.get("Layers"), list, "Layers")
        blobs = tuple(LayerBlob(self._member(typed(layer, str, "Layers")), None) for layer in layers)
        tags = typed(manifest.get("RepoTags") or [], list, "RepoTags")
        return _incoming(config, blobs, tuple(reference_of(typed(tag, str, "RepoTags")) for tag in tags))

    def oci_images(self) -> list[Incoming]:
        layout = typed(self._document("oci-layout", MANIFEST_BYTES), dict, "oci-layout")
        if layout.get("imageLayoutVersion") != "1.0.0":
            raise Unsupported("the archive's OCI layout is not of version 1.0.0")
        top = typed(self._document("index.json", MANIFEST_BYTES), dict, "index.json")
        images: dict[str, Incoming] = {}
        for descriptor in self._choose(_manifests(top, "index.json")):
            image = self._resolve(descriptor, NESTING)
            reference = _reference(typed(descriptor.get("annotations") or {}, dict, "annotations"))
            known = images.get(image.id, image)
            tags = (
                (*known.references, reference) if reference and reference not in known.references else known.references
            )
            images[image.id] = Incoming(image.config, image.parsed, image.blobs, tags)
        return list(images.values())

    def _resolve(self, descriptor: Document, nesting: int) -> Incoming:
        kind = typed(descriptor.get("mediaType"), str, "mediaType")
        document = typed(parse_json(self._blob(descriptor, MANIFEST_BYTES), "manifest"), dict, "manifest")
        if document.get("mediaType", kind) != kind or (
            "manifests" in document and {"config", "layers"} & document.keys()
        ):
            # One document that is read as two kinds of thing: CVE-2021-41190.
            raise InvalidRequest("the image's manifest is not what its media type says", hint=_BROKEN_HINT)
        if kind in _INDEX_TYPES:
            if nesting == 0:
                raise InvalidRequest("the archive nests its indexes too deep")
            return self._resolve(self._choose(_manifests(document, "index"))[0], nesting - 1)
        if kind not in _MANIFEST_TYPES:
            raise Unsupported(f"the archive holds a {kind!r}, not an image")
        config = self._blob(typed(document.get("config"), dict, "config"), CONFIG_BYTES)
        layers = typed(document.get("layers"), list, "layers")
        blobs = tuple(self._layer(typed(layer, dict, "layers")) for layer in layers)
        return _incoming(config, blobs, ())

    def _choose(self, descriptors: list[Document]) -> list[Document]:
        """Those for this host; a descriptor without platform counts as such, and its config decides."""
        fitting = []
        for descriptor in descriptors:
            platform = typed(descriptor.get("platform") or {}, dict, "platform")
            if not platform or (platform.get("os"), platform.get("architecture")) == ("linux", host_architecture()):
                fitting.append(descriptor)
        if not fitting:
            raise Unsupported(
                f"the archive has no image for linux/{host_architecture()}", hint="get the one for this architecture"
            )
        return fitting

    def _layer(self, descriptor: Document) -> LayerBlob:
        digest, member = self._located(descriptor)
        return LayerBlob(member, digest)

    def _blob(self, descriptor: Document, cap: int) -> bytes:
        digest, member = self._located(descriptor)
        data = self._bytes(member, cap, "manifest or config")
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise Corrupt("a part of the archive does not match its digest", hint=_BROKEN_HINT, subject=digest)
        return data

    def _located(self, descriptor: Document) -> tuple[str, Member]:
        digest = names.digest(typed(descriptor.get("digest"), str, "digest"))
        member = self._member(f"blobs/sha256/{digest.removeprefix('sha256:')}")
        if typed(descriptor.get("size"), int, "size") != member.size:
            raise Corrupt("a part of the archive does not have its promised size", hint=_BROKEN_HINT, subject=digest)
        return digest, member

    def _document(self, name: str, cap: int) -> Any:
        return parse_json(self._bytes(self._member(name), cap, name), name)

    def _member(self, name: str) -> Member:
        member = self._index.find(name) if name.isprintable() and name.isascii() else None
        if member is None:
            raise InvalidRequest(f"the archive lacks {name[:200]!a}, which it speaks of", hint=_BROKEN_HINT)
        return member

    def _bytes(self, member: Member, cap: int, part: str) -> bytes:
        if member.size > cap:
            raise InvalidRequest(f"the image's {part} is over {cap} bytes")
        self._file.seek(member.offset)
        data = self._file.read(member.size)
        if len(data) != member.size:
            raise Corrupt("the archive is cut off", hint=_BROKEN_HINT)
        return data


def _incoming(config: bytes, blobs: tuple[LayerBlob, ...], references: tuple[str, ...]) -> Incoming:
    parsed = parse_config(config)
    if len(blobs) != len(parsed.diff_ids) or len(blobs) > LAYERS:
        raise InvalidRequest(
            f"the image's manifest names {len(blobs)} layers, its config {len(parsed.diff_ids)}", hint=_BROKEN_HINT
        )
    return Incoming(config, parsed, blobs, references)


def _manifests(document: Document, part: str) -> list[Document]:
    manifests = typed(document.get("manifests"), list, part)
    if not manifests or len(manifests) > 1000:
        raise InvalidRequest(f"the archive's {part} names {len(manifests)} images")
    return [typed(manifest, dict, part) for manifest in manifests]


def _reference(annotations: Document) -> str | None:
    """The full name that containerd and Docker write, else OCI's ref.name unless it is a bare tag: of what?"""
    full = annotations.get("io.containerd.image.name")
    short = annotations.get("org.opencontainers.image.ref.name")
    for text in (full, short if isinstance(short, str) and (":" in short or "/" in short) else None):
        if text is not None:
            return reference_of(typed(text, str, "annotations"))
    return None
