"""An empty volume takes over what the image has at its place, at the first start of a container that mounts it there.

As Docker has it (docs.docker.com/engine/storage/volumes, "Populate a volume using a container"): owner and mode of the
directory too. The bytes go through two workers that see the image's layers and the volume, and nothing else.
"""

from __future__ import annotations

import os

from engine.containers.files import Files
from engine.containers.spec import Container
from engine.errors import InvalidRequest, KernelError, NotFound
from engine.images.spec import Image
from engine.linux import files
from engine.storage.paths import Paths


class Filling:
    """Fills volumes."""

    def __init__(self, paths: Paths, copies: Files) -> None:
        self._paths = paths
        self._copies = copies

    def fill(self, container: Container, image: Image) -> None:
        """Fill each empty volume of a container, unless it says not to; one whose filling a crash cut short again."""
        for volume in container.spec.volumes:
            if volume.copy and not volume.subpath:
                try:
                    self._fill(volume.volume, image, volume.target)
                except OSError as error:
                    raise KernelError.from_os(
                        error, f"filling volume {volume.volume!r}", hint="look at the disk that holds WHARFIE_ROOT"
                    ) from error

    def _fill(self, name: str, image: Image, target: str) -> None:
        half = self._paths.volume_filling(name)
        with files.locked(str(half.with_name(".lock"))):  # two containers may start at once
            directory = os.open(self._paths.volume(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with os.scandir(directory) as entries:
                    empty = next(entries, None) is None
                if (empty or half.exists()) and self._has_directory(image, target):
                    half.touch()
                    with self._copies.copy_out_of_image(image, target) as stream:
                        self._copies.unpack(directory, stream, set_id=True, keep_top=True)
                    half.unlink()
            finally:
                os.close(directory)

    def _has_directory(self, image: Image, path: str) -> bool:
        try:
            return self._copies.stat_in_image(image, path).is_directory
        except (NotFound, InvalidRequest):  # InvalidRequest: below something that is no directory; the start tells
            return False
