"""What a volume is, and all that can be mounted into a container. Plain, frozen data."""

from __future__ import annotations

from dataclasses import dataclass

from engine import names
from engine.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Volume:
    """A named directory that outlives the containers that mount it."""

    name: str
    created_at_ns: int  # Unix time
    used_by: tuple[str, ...] = ()  # names of containers that mount it


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A named volume and where it appears in the container."""

    volume: str
    target: str  # absolute path in the container
    read_only: bool = False
    subpath: str = ""  # a directory in the volume, to see that alone
    copy: bool = True  # an empty volume takes over what the image has at the target, at the container's first start

    @classmethod
    def parse(cls, text: str) -> VolumeMount:
        """``NAME:/path``, or with ``:ro``, ``:nocopy`` or both; InvalidRequest for anything else."""
        name, _colon, rest = text.partition(":")
        target, colon, mode = rest.partition(":")
        words = set(mode.split(",")) if colon else set()
        if not names.VOLUME_NAME.fullmatch(name) or not target.startswith("/") or words - {"ro", "rw", "nocopy"}:
            raise InvalidRequest(
                f"{text!r} is not a volume and a path",
                hint="write NAME:/path, NAME being a volume's, or /directory:/path; with :ro to forbid writing",
                field="volumes",
            )
        return cls(name, target, "ro" in words, copy="nocopy" not in words)


@dataclass(frozen=True, slots=True)
class BindMount:
    """A directory or file of the host in the container; `engine.hostpaths` decides which may be.

    Ids are the same on both sides, so the container's root writes files of the host's root there. What is mounted
    below the directory on the host does not come along.
    """

    source: str  # absolute path on the host
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class TmpfsMount:
    """A new, empty file system in memory, gone when the container ends. What it holds counts as the container's."""

    target: str
    size_bytes: int | None = None  # None: half of the host's memory; the container's own limit comes first
    mode: int = 0o1777
    executable: bool = False
    read_only: bool = False
