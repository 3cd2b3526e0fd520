"""What is mounted into a container, on the command line: Docker's `-v`, `--tmpfs` and `--mount`.

docs.docker.com/engine/storage: "Volumes", "Bind mounts", "tmpfs mounts".
"""

from __future__ import annotations

import argparse
import csv
from argparse import Namespace
from typing import NamedTuple

from engine import BindMount, TmpfsMount, VolumeMount, names
from engine.errors import InvalidRequest

_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_KEYS = {
    "volume": {"source", "target", "readonly", "volume-nocopy", "volume-subpath"},
    "bind": {"source", "target", "readonly", "bind-propagation"},
    "tmpfs": {"target", "readonly", "tmpfs-size", "tmpfs-mode"},
}


class Mounts(NamedTuple):
    """All that was asked for."""

    volumes: tuple[VolumeMount, ...]
    binds: tuple[BindMount, ...]
    tmpfs: tuple[TmpfsMount, ...]


def flags(command: argparse.ArgumentParser) -> None:
    """Add them."""
    option = command.add_argument
    text = "a volume, or a directory or file of this host; options: ro, and nocopy of a volume"
    option("-v", "--volume", action="append", default=[], metavar="SOURCE:/PATH[:OPTIONS]", help=text)
    text = "an empty file system in memory; options: size=64m, mode=1777, exec, ro"
    option("--tmpfs", action="append", default=[], metavar="/PATH[:OPTIONS]", help=text)
    text = (
        "as type=volume,source=data,target=/data,readonly,volume-nocopy,volume-subpath=a/b; type=bind,… or type=tmpfs,…"
    )
    option("--mount", action="append", default=[], metavar="KEY=VALUE,…", help=text)


def mounts(options: Namespace) -> Mounts:
    """What the flags say; InvalidRequest for what they cannot mean."""
    found: list[VolumeMount | BindMount | TmpfsMount] = [
        *map(_volume, options.volume), *map(_tmpfs, options.tmpfs), *map(_mount, options.mount)
    ]  # fmt: skip
    return Mounts(
        tuple(each for each in found if isinstance(each, VolumeMount)),
        tuple(each for each in found if isinstance(each, BindMount)),
        tuple(each for each in found if isinstance(each, TmpfsMount)),
    )


def _volume(text: str) -> VolumeMount | BindMount:
    if not text.startswith("/"):
        return VolumeMount.parse(text)
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not target.startswith("/") or mode not in ("", "ro", "rw"):
        raise InvalidRequest(
            f"{text!r} is not a directory of the host and a path",
            hint="write /ON/HOST:/IN/CONTAINER or /ON/HOST:/IN/CONTAINER:ro",
            field="binds",
        )
    return BindMount(source, target, mode == "ro")


def _tmpfs(text: str) -> TmpfsMount:
    target, _, rest = text.partition(":")
    size, mode, words = None, 0o1777, set()
    for word in rest.split(",") if rest else ():
        key, equals, value = word.partition("=")
        if key == "size" and equals:
            size = names.size_bytes(value, "tmpfs")
        elif key == "mode" and equals:
            mode = _octal(value, text)
        elif word in ("ro", "rw", "exec", "noexec", "nosuid", "nodev"):
            words.add(word)
        else:
            raise InvalidRequest(
                f"{word!r} is no option of a tmpfs", hint="there are size=, mode=, exec, ro", field="tmpfs"
            )
    return TmpfsMount(target, size, mode, executable="exec" in words, read_only="ro" in words)


def _mount(text: str) -> VolumeMount | BindMount | TmpfsMount:
    given: dict[str, str] = {}
    for word in next(csv.reader([text]), []):
        key, equals, value = word.partition("=")
        key = _ALIASES.get(key, key)
        if key in given or (not equals and key not in ("readonly", "volume-nocopy")):
            raise _wrong(text, f"{word!r} is there twice, or lacks its value")
        given[key] = value if equals else "true"
    kind = given.pop("type", "volume")
    unknown = given.keys() - _KEYS.get(kind, set())
    if kind not in _KEYS or unknown:
        raise _wrong(text, f"type {kind} has {', '.join(sorted(_KEYS.get(kind, _KEYS)))}")
    if "target" not in given or (kind != "tmpfs" and not given.get("source")):
        raise _wrong(text, "give a target" if kind == "tmpfs" else "give a source and a target")
    read_only = _flag(given.get("readonly", "false"), text)
    if kind == "tmpfs":
        size = given.get("tmpfs-size")
        return TmpfsMount(
            given["target"],
            None if size is None else names.size_bytes(size, "tmpfs"),
            _octal(given.get("tmpfs-mode", "1777"), text),
            read_only=read_only,
        )
    if kind == "bind":
        if given.get("bind-propagation", "rprivate") not in ("private", "rprivate"):
            raise _wrong(text, "nothing that is mounted in a container shows outside: leave bind-propagation out")
        return BindMount(given["source"], given["target"], read_only)
    copy = not _flag(given.get("volume-nocopy", "false"), text)
    return VolumeMount(given["source"], given["target"], read_only, given.get("volume-subpath", ""), copy)


def _flag(value: str, text: str) -> bool:
    if value.lower() not in ("true", "1", "false", "0"):
        raise _wrong(text, f"{value!r} is neither true nor false")
    return value.lower() in ("true", "1")


def _octal(value: str, text: str) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise _wrong(text, f"{value!r} is no mode: write it like 1777") from None


def _wrong(text: str, hint: str) -> InvalidRequest:
    return InvalidRequest(f"{text!r} mounts nothing", hint=hint, field="volumes")
