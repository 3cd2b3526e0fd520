"""What an image is: ordered layers by digest, and a config. Plain, frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.containers.spec import HealthCheck


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The part of an OCI image config that a container takes over (image-spec config.md, "config")."""

    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    workdir: str = "/"
    stop_signal: str = "SIGTERM"
    labels: dict[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    health: HealthCheck | None = None  # Docker's HEALTHCHECK, which OCI has no word for
    on_build: tuple[str, ...] = ()  # instructions for images that are built on it; Docker's extension


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, unpacked on this host."""

    diff_id: str  # sha256: digest of the uncompressed tar
    size_bytes: int  # what its files hold


STARTER = "wharfie/starter:latest"  # the image that is made of this host's own files; `engine.images.starter`


@dataclass(frozen=True, slots=True)
class Image:
    """An image on this host. ``id`` is the digest of its config, as in Docker and OCI."""

    id: str
    tags: tuple[str, ...]
    layers: tuple[Layer, ...]  # the lowest first
    config: ImageConfig
    created_at_ns: int  # when it arrived here, Unix time
    architecture: str = "amd64"
    used_by: int = 0  # containers made from it

    @property
    def short_id(self) -> str:
        """The first 12 hex digits of the id."""
        return self.id.removeprefix("sha256:")[:12]

    @property
    def size_bytes(self) -> int:
        """What its layers hold together; layers shared with other images count in each."""
        return sum(layer.size_bytes for layer in self.layers)
