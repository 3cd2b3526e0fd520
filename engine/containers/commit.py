"""Make an image of a container: its image, what it changed of that, and its settings."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable
from typing import BinaryIO

from engine import policy
from engine.archives.streams import DiskGuard, Megabytes
from engine.containers.files import Files
from engine.containers.pausing import Pausing
from engine.containers.records import Records
from engine.containers.spec import CommitSpec, Container
from engine.events import Events
from engine.images import instructions
from engine.images.config import History
from engine.images.spec import Image, ImageConfig
from engine.images.store import ImageStore
from engine.security.spec import Caller


class Commits:
    """Makes images of containers."""

    def __init__(self, records: Records, events: Events, files: Files, pausing: Pausing, images: ImageStore) -> None:
        self._records = records
        self._events = events
        self._files = files
        self._pausing = pausing
        self._images = images

    def commit(self, ref: str, spec: CommitSpec, caller: Caller, say: Callable[[str], None]) -> Image:
        """An image of a container's files and settings: its own image, and one more layer where it changed something.

        Paused while its files are read, unless the spec says not to or it is paused already. What ``say`` raises
        ends it, and nothing is left.
        """
        policy.check_commit(spec)
        container = self._records.find(ref)
        policy.enter(container.spec, caller)
        base = self._images.get(container.image_id)
        settings = instructions.apply(settings_of(container, base), spec.changes)
        with tempfile.TemporaryFile(dir=self._images.scratch) as file:
            with self._pausing.still(container) if spec.pause else contextlib.nullcontext():
                entries = self._spool(container, file, say)
            made = History(time.time_ns(), f"wharfie commit {container.short_id}", spec.author, spec.message)
            image = self._images.derive(base.id, file if entries else None, settings, made, spec.name, say)
        self._events.publish("container", "commit", container.id, container.name)
        return image

    def _spool(self, container: Container, file: BinaryIO, say: Callable[[str], None]) -> int:
        guard = DiskGuard(self._images.scratch)
        count = Megabytes("Reading what it changed", say)
        with self._files.layer(container.id) as stream:
            while data := stream.read():
                guard(len(data))
                count(len(data))
                file.write(data)
            entries: int = stream.counts["entries"]
        file.seek(0)
        return entries


def settings_of(container: Container, image: Image) -> ImageConfig:
    """What an image of it would say: its image's config with what was asked for at its creation."""
    spec = container.spec
    if spec.entrypoint is not None:
        entrypoint, command = spec.entrypoint, spec.command or ()
    else:
        entrypoint = image.config.entrypoint
        command = image.config.cmd if spec.command is None else spec.command
    return dataclasses.replace(
        image.config,
        env=tuple(spec.env),
        entrypoint=entrypoint,
        cmd=command,
        user=spec.user or "",
        workdir=spec.workdir or "/",
        stop_signal=spec.stop_signal or image.config.stop_signal,
        labels=image.config.labels | spec.labels,
        health=spec.health,
    )
