"""How a layer says that something of the layers below is gone; OCI image-spec layer.md, "Whiteouts"."""

from __future__ import annotations

from engine.archives.fields import refused

_PREFIX = b".wh."
_OPAQUE = b".wh..wh..opq"


def hidden_name(parts: tuple[bytes, ...], label: str) -> bytes | None:
    """The name that the entry ``parts`` hides in its directory; b"" hides all below it; None: it is no whiteout.

    Strict, because a whiteout removes: `.wh.` with nothing, "." or ".." behind it would reach beyond the
    directory, and the names that AUFS kept for itself (`.wh..wh.*`) mean nothing in a layer.
    """
    if any(part.startswith(_PREFIX) for part in parts[:-1]):
        raise refused("has a whiteout used as a directory", label)
    if not parts or not parts[-1].startswith(_PREFIX):
        return None
    if parts[-1] == _OPAQUE:
        return b""
    name = parts[-1].removeprefix(_PREFIX)
    if name in (b"", b".", b"..") or name.startswith(_PREFIX):
        raise refused("has a malformed whiteout", label)
    return name
