"""Another container with the same settings, the same files and copies of the volumes; from then on each its own way."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from engine import names, policy
from engine.containers import state
from engine.containers.asked import asked
from engine.containers.commit import Commits
from engine.containers.files import Files
from engine.containers.pausing import Pausing
from engine.containers.records import Records
from engine.containers.spec import CommitSpec, Container, ContainerSpec
from engine.errors import AlreadyExists, EngineError, KernelError, NotFound
from engine.images.store import ImageStore
from engine.security.spec import Caller
from engine.storage.paths import Paths
from engine.volumes.spec import VolumeMount
from engine.volumes.store import VolumeStore

Create = Callable[[ContainerSpec, Caller], Container]


class Cloning:
    """Clones containers."""

    def __init__(
        self, paths: Paths, records: Records, files: Files, pausing: Pausing, images: ImageStore, volumes: VolumeStore,
        commits: Commits, create: Create,
    ) -> None:  # fmt: skip
        self._paths = paths
        self._records = records
        self._files = files
        self._pausing = pausing
        self._images = images
        self._volumes = volumes
        self._commits = commits
        self._create = create

    def clone(self, source: Container, name: str, caller: Caller) -> Container:
        """The clone, which does not run yet. A source that runs is paused meanwhile. On failure nothing is left.

        Its files are an image of their own, and each volume ``<name>-<volume>``; directories of the host are shared.
        """
        state.require("copy", source.state, source.name)
        names.container_name(name)
        wanted = dataclasses.replace(asked(source, self._images.get(source.image_id)), name=name)
        policy.check(wanted, caller)
        with contextlib.suppress(NotFound):
            self._records.find(name)
            raise AlreadyExists(f"the name {name!r} is taken", hint="choose another", field="name", subject=name)
        with ExitStack() as undo:
            with self._pausing.still(source):
                image = self._commits.commit(source.id, CommitSpec(name=_reference(source.name), pause=False))
                undo.callback(_undone, self._images.remove, image.tags[0])
                mounts = tuple(self._copies(source, name, undo))
            made = self._create(dataclasses.replace(wanted, image=image.tags[0], volumes=mounts), caller)
            undo.pop_all()
        return made

    def _copies(self, source: Container, name: str, undo: ExitStack) -> list[VolumeMount]:
        copies: dict[tuple[str, str], str] = {}
        found = []
        for mount in source.spec.volumes:
            place = (mount.volume, mount.subpath)
            if place not in copies:
                copies[place] = self._copy(source, mount, name, undo)
            found.append(dataclasses.replace(mount, volume=copies[place], subpath=""))
        return found

    def _copy(self, source: Container, mount: VolumeMount, name: str, undo: ExitStack) -> str:
        volume = self._made(f"{name}-{mount.volume}"[:60])
        undo.callback(_undone, self._volumes.remove, volume)
        try:
            directory = os.open(self._paths.volume(volume), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with self._files.copy_out(source.id, mount.target, "", one_mount=True, top=True) as stream:
                    self._files.unpack(directory, stream, keep_top=True)
            finally:
                os.close(directory)
        except OSError as error:
            raise KernelError.from_os(error, f"copying volume {mount.volume!r}") from error
        return volume

    def _made(self, name: str) -> str:
        for number in range(2, 1000):
            with contextlib.suppress(AlreadyExists):
                return self._volumes.create(name).name
            name = f"{name.rstrip('0123456789').rstrip('-')}-{number}"
        raise AlreadyExists(f"there are too many volumes like {name!r}", hint="remove some", subject=name)


def _reference(name: str) -> str:
    """What the image is called: whose files it has, and of when."""
    word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "container"
    return f"clone/{word}:{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(2).hex()}"


def _undone(remove: Callable[[str], None], name: str) -> None:
    try:
        remove(name)
    except EngineError as error:  # the first failure is what is told
        print(f"wharfie: removing {name} of a clone that failed: {error}", file=sys.stderr, flush=True)
