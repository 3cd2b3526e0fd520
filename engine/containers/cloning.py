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
from engine.archives.streams import Counted, Megabytes
from engine.containers import state
from engine.containers.asked import asked
from engine.containers.commit import Commits
from engine.containers.files import Files
from engine.containers.pausing import Pausing
from engine.containers.records import Records
from engine.containers.spec import CommitSpec, Container, ContainerSpec
from engine.errors import AlreadyExists, EngineError, KernelError, NotFound
from engine.events import Events
from engine.images.reference import reference
from engine.images.store import ImageStore
from engine.security.spec import ROOT, Caller
from engine.storage import journal
from engine.storage.paths import Paths
from engine.volumes.spec import VolumeMount
from engine.volumes.store import VolumeStore

Create = Callable[[ContainerSpec, Caller], Container]
Note = Callable[..., None]
Say = Callable[[str], None]
KIND = "clone"


class Cloning:
    """Clones containers."""

    def __init__(
        self, paths: Paths, volumes: VolumeStore, records: Records, events: Events, files: Files, pausing: Pausing,
        images: ImageStore, create: Create,
    ) -> None:  # fmt: skip
        self._paths = paths
        self._records = records
        self._files = files
        self._pausing = pausing
        self._images = images
        self._volumes = volumes
        self.commits = Commits(records, events, files, pausing, images)
        self._create = create

    def clone(self, source: Container, name: str, key: str, caller: Caller, say: Say) -> Container:
        """The clone, which does not run yet. A source that runs is paused meanwhile. On failure nothing is left, nor
        after a kill, once the console has started again.

        Its files are an image of their own, tagged with ``key``, and each volume ``<name>-<volume>``; directories of
        the host are shared. Asked once more with the same key, what was made then is the answer.
        """
        state.require("copy", source.state, source.name)
        names.container_name(name)
        image = _image_name(source.name, key)
        wanted = dataclasses.replace(asked(source, self._images.get(source.image_id)), name=name, image=image)
        policy.check(wanted, caller)
        with contextlib.suppress(NotFound):
            if (found := self._records.find(name)).image == image:
                return found
            raise AlreadyExists(f"the name {name!r} is taken", hint="choose another", field="name", subject=name)
        with journal.journal(self._paths.tmp, KIND) as note, ExitStack() as undo:
            note(image=image)
            with self._pausing.still(source):
                self.commits.commit(source.id, CommitSpec(name=image, pause=False), ROOT, say)
                undo.callback(_undone, self._images.remove, image)
                mounts = tuple(self._copies(source, name, note, undo, say))
            say("Creating the container")  # after this it is there
            made = self._create(dataclasses.replace(wanted, volumes=mounts), caller)
            undo.pop_all()
        return made

    def tidy(self) -> None:
        """Take away what clones left whose process was killed; called once when the console starts."""
        for notes in journal.left(self._paths.tmp, KIND):
            made = any(self._is_used(note["image"]) for note in notes if "image" in note)
            for note in notes if not made else ():
                if "image" in note:
                    _undone(self._images.remove, note["image"])
                else:
                    self._remove_volume(note["volume"], note["created_at_ns"])

    def _is_used(self, image: str) -> bool:
        """Whether the clone is complete: nobody else knows its image."""
        try:
            return self._images.get(image).used_by > 0
        except EngineError:
            return False

    def _remove_volume(self, name: str, created_at_ns: int) -> None:
        """One that is called so but was made at another time is somebody else's."""
        if any((each.name, each.created_at_ns) == (name, created_at_ns) for each in self._volumes.list()):
            _undone(self._volumes.remove, name)

    def _copies(self, source: Container, name: str, note: Note, undo: ExitStack, say: Say) -> list[VolumeMount]:
        copies: dict[tuple[str, str], str] = {}
        found = []
        for mount in source.spec.volumes:
            place = (mount.volume, mount.subpath)
            if place not in copies:
                copies[place] = self._copy(source, mount, name, note, undo, say)
            found.append(dataclasses.replace(mount, volume=copies[place], subpath=""))
        return found

    def _copy(self, source: Container, mount: VolumeMount, name: str, note: Note, undo: ExitStack, say: Say) -> str:
        label = f"Copying volume {mount.volume}"
        say(label)
        volume = self._made(f"{name}-{mount.volume}"[:60], note)
        undo.callback(_undone, self._volumes.remove, volume)
        try:
            directory = os.open(self._paths.volume(volume), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with self._files.copy_out(source.id, mount.target, "", one_mount=True, top=True) as stream:
                    self._files.unpack(directory, Counted(stream, Megabytes(label, say)), keep_top=True)
            finally:
                os.close(directory)
        except OSError as error:
            raise KernelError.from_os(error, f"copying volume {mount.volume!r}") from error
        return volume

    def _made(self, name: str, note: Note) -> str:
        for number in range(2, 1000):
            now = time.time_ns()
            note(volume=name, created_at_ns=now)
            with contextlib.suppress(AlreadyExists):
                return self._volumes.create(name, now).name
            name = f"{name.rstrip('0123456789').rstrip('-')}-{number}"
        raise AlreadyExists(f"there are too many volumes like {name!r}", hint="remove some", subject=name)


def _image_name(name: str, key: str) -> str:
    """What the image of a clone is called: whose files it has, and of when unless there is a key."""
    word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "container"
    return reference(f"clone/{word}:{key or time.strftime('%Y%m%d-%H%M%S-', time.gmtime()) + os.urandom(4).hex()}")


def _undone(remove: Callable[[str], None], name: str) -> None:
    try:
        remove(name)
    except NotFound:  # it was killed before it was made
        return
    except EngineError as error:  # the first failure is what is told
        print(f"wharfie: removing {name} of a clone that failed: {error}", file=sys.stderr, flush=True)
