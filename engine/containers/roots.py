"""A container's root file system, for whoever wants its files: which one it is now, and who may mount it.

An overlay's upper directory must not be mounted twice (overlayfs.rst, "Sharing and copying layers"). So there
is a lock:

    a start, a removal          exclusive, while it lasts; from then on the run record tells. A shim's restart too
    a copy, stopped             exclusive: it mounts the overlay itself
    a copy, running             shared: it has a copy of the running one's mounts, and ends with it
    changes, a layer of them    shared: they read the upper directory beside the image, without an overlay

Nobody waits long for it: a start that meets a copy of a stopped container is Busy. The launcher's process holds it
too, so that it is free only when nothing is mounted any more.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.containers import shims, state
from engine.containers.records import Records
from engine.containers.spec import Container, ContainerSpec
from engine.errors import Busy
from engine.images.spec import Image
from engine.linux import files
from engine.storage.paths import Paths

WAIT_S = 10.0

Request = dict[str, Any]


@contextmanager
def locked(paths: Paths, container: Container, *, shared: bool = False) -> Iterator[int]:
    """Hold the lock of a container's root; its descriptor. Busy when it is not to be had within WAIT_S."""
    try:
        descriptor = os.open(
            paths.root_lock(container.id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except FileNotFoundError:  # its directory is lost, or it was removed meanwhile: there is nothing to mount
        descriptor = os.memfd_create("no root")
    try:
        try:
            files.take(descriptor, WAIT_S, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        except TimeoutError:
            raise Busy(
                f"files of container {container.name!r} are being copied",
                hint="try again when that is done",
                subject=container.name,
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def root(paths: Paths, records: Records, container: Container, image: Image) -> Iterator[tuple[Request, int]]:
    """A container's root as `engine.files.roots` wants it told, and the lock that is held for it meanwhile."""
    while True:
        container = records.find(container.id)
        state.require("copy", container.state, container.name)
        record = records.running(container.id)
        with locked(paths, container, shared=record is not None) as lock:
            now = records.running(container.id)
            if (now and now["started_at_ns"]) != (record and record["started_at_ns"]):
                continue  # it started or ended between the two looks
            if record is not None:
                yield (
                    {"kind": "running", "uid_base": container.uid_base}
                    | {key: record[key] for key in ("pid", "start_time")},
                    lock,
                )
                return
            shim = records.shim(container.id)
            if shim is not None:  # it is just giving up its file system
                shims.wait_for_pid(shim, WAIT_S)
                if records.shim(container.id) is not None:
                    raise Busy(
                        f"container {container.name!r} is just ending",
                        hint="try again in a moment",
                        subject=container.name,
                    )
            yield (
                {
                    "kind": "stopped",
                    "uid_base": container.uid_base,
                    **overlay(paths, container.id, image),
                    "volumes": mounts(paths, container.spec),
                },
                lock,
            )
            return


def overlay(paths: Paths, container_id: str, image: Image) -> Request:
    """What a container's overlay is made of."""
    directory = paths.container(container_id)
    return {"layers": layers(paths, image), "upper": str(directory / "upper"), "work": str(directory / "work")}


def layers(paths: Paths, image: Image) -> list[str]:
    """The directories below every container of an image, the lowest first."""
    return [str(paths.skeleton), *(str(paths.layer(layer.diff_id)) for layer in image.layers)]


def mounts(paths: Paths, spec: ContainerSpec) -> list[Request]:
    """What is mounted into a container, as `engine.shim.rootfs.volumes` wants it told."""
    volumes: list[Request] = [
        {"source": str(paths.volume(v.volume)), "target": v.target, "read_only": v.read_only, "subpath": v.subpath}
        for v in spec.volumes
    ]
    own = [str(paths.root), str(paths.run)]
    return volumes + [
        {"source": bind.source, "target": bind.target, "read_only": bind.read_only, "own": own} for bind in spec.binds
    ]
