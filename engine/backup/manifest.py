"""What a backup says of itself."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.errors import Corrupt
from engine.names import OBJECT_ID, VOLUME_NAME

FORMAT = 1  # raised when an older Wharfie could not read it back
NAME = "manifest.json"
DATABASES = ("state.db", "console.db")
CONFIG = "config.tar.gz"
CONFIG_NAMES = ("secret_key", "tls")
MAX_BYTES = 64 * 2**20
_TREE = re.compile(r"(layers|containers|volumes)/([^/]+)\.tar\.gz")


@dataclass(frozen=True)
class Manifest:
    """The last member of a backup."""

    format: int
    schema: int  # of state.db
    created_at_ns: int  # Unix time of the moment that state.db shows
    members: dict[str, str] = field(default_factory=dict)  # sha256 by name
    left_out: tuple[str, ...] = ()  # of images, volumes
    notes: tuple[str, ...] = ()  # what could not be taken along, or changed while it was read

    def to_json(self) -> bytes:
        """As written."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """As read; Corrupt when it is none, or of a newer format."""
        try:
            read: dict[str, Any] = json.loads(data)
            if int(read["format"]) > FORMAT:
                raise Corrupt(
                    f"the backup has format {read['format']} of a newer Wharfie; this one knows {FORMAT} at most",
                    hint="restore it with the newer one",
                )
            members = {str(name): str(digest) for name, digest in read["members"].items()}
            texts = {key: tuple(map(str, read[key])) for key in ("left_out", "notes")}
            return cls(int(read["format"]), int(read["schema"]), int(read["created_at_ns"]), members, **texts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged("its manifest cannot be read") from error


def tree(name: str) -> tuple[str, str] | None:
    """(kind, id or name) of a member that is an object's tree, else None."""
    match = _TREE.fullmatch(name)
    if not match or not (VOLUME_NAME if match[1] == "volumes" else OBJECT_ID).fullmatch(match[2]):
        return None
    return match[1], match[2]


def damaged(why: str) -> Corrupt:
    """For a file that is no backup, or not all of one."""
    return Corrupt(f"the backup is damaged: {why}", hint="nothing was changed: copy it again, or take another")
