"""`cp`, `export`, `diff` and `commit` of the command line. Where a copy ends up: docs.docker.com, "docker cp"."""

from __future__ import annotations

import os
import posixpath
import sys
from argparse import Namespace
from typing import BinaryIO, NamedTuple

from console.outfile import outfile
from console.terminal import progress
from console.text import clean
from engine import CommitSpec, Engine, Outgoing
from engine.errors import EngineError, InvalidRequest, NotFound


class Place(NamedTuple):
    """Where the files of a copy are made."""

    directory: str
    name: str  # what the file or directory is called there; "" when only what is in a directory is copied


def copy(engine: Engine, options: Namespace) -> int:
    """Copy between a container and this host, or a tar stream."""
    source, target = split(options.source), split(options.target)
    if (source[0] is None) == (target[0] is None):
        raise InvalidRequest(
            "one of the two must be in a container, and one on this host",
            hint="write a container's as NAME:/path; between containers, copy through - and a pipe",
        )
    if source[0] is not None:
        return copy_out(engine, source[0], source[1], target[1], options)
    assert target[0] is not None
    return copy_in(engine, source[1], target[0], target[1], options)


def split(text: str) -> tuple[str | None, str]:
    """``CONTAINER:PATH`` as both; a path of this host, or -, with None. One with a colon begins with / or a dot."""
    ref, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")):
        return None, text
    return ref, path if path.startswith("/") else f"/{path}"


def copy_out(engine: Engine, ref: str, path: str, target: str, options: Namespace) -> int:
    """From a container to this host or, as a tar stream, to stdout."""
    follow = options.follow_link
    name = named(path)
    if target == "-":
        with engine.files.copy_out(ref, path, name, follow=follow) as stream:
            return send(stream, sys.stdout.buffer)
    directory = checked(engine.files.stat(ref, path, follow=follow or path.endswith("/")).is_directory, path)
    place = placed(directory, name, target, os.path.isdir(target) if os.path.exists(target) else None)
    try:
        descriptor = os.open(place.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise missing(place.directory, error) from error
    try:
        owner = None if options.archive else (os.geteuid(), os.getegid())
        with engine.files.copy_out(ref, path, place.name, follow=follow) as stream:
            told(engine.files.unpack(descriptor, stream, owner=owner) | stream.counts)
    finally:
        os.close(descriptor)
    return 0


def copy_in(engine: Engine, source: str, ref: str, path: str, options: Namespace) -> int:
    """From this host or, as a tar stream, from stdin, to a container."""
    if source == "-":
        told(engine.files.copy_in(ref, path, sys.stdin.buffer))
        return 0
    name = named(source)
    if options.follow_link or source.endswith("/"):
        source = os.path.realpath(source) + ("/." if source.endswith("/.") else "")
    try:
        directory = checked(os.path.isdir(source) and not os.path.islink(source), source)
        os.lstat(source)
    except OSError as error:
        raise missing(source, error) from error
    try:
        there = engine.files.stat(ref, path).is_directory
    except NotFound:
        there = None
    place = placed(directory, name, path, there)
    owner = None if options.archive else (0, 0)
    with engine.files.pack(source, place.name, owner=owner) as stream:
        told(engine.files.copy_in(ref, place.directory, stream) | stream.counts)
    return 0


def named(path: str) -> str:
    """What is copied under which name: the last part, or "" when it is what a directory holds."""
    last = posixpath.basename(posixpath.normpath(path))
    return "" if path.endswith("/.") or last in (".", "..") else last


def checked(directory: bool, path: str) -> bool:
    """``directory``; InvalidRequest when the path says so and it is none."""
    if not directory and path.endswith(("/", "/.")):
        raise InvalidRequest(f"{path!r} is not a directory", hint="leave out the slash at the end", field="path")
    return directory


def placed(directory: bool, name: str, target: str, there: bool | None) -> Place:
    """Where it goes. ``there``: whether the target is a directory, or None when it does not exist."""
    if there:
        return Place(target, name)
    before, last = posixpath.split(target.rstrip("/"))
    if there is None and not directory and target.endswith("/"):
        raise NotFound(f"there is no directory {target!r}", hint="make it first", field="path", subject=target)
    if there is False and (directory or target.endswith("/")):
        raise InvalidRequest(
            f"{target!r} is a file, and a directory cannot be copied over it", hint="choose another place", field="path"
        )
    if last in ("", ".", ".."):
        raise InvalidRequest(f"{target!r} is no place to copy to", hint="name it without dots", field="path")
    return Place(before or ("/" if target.startswith("/") else "."), last)


def missing(path: str, error: OSError) -> EngineError:
    """A path of this host that cannot be used."""
    if isinstance(error, FileNotFoundError):
        return NotFound(f"there is no {path!r}", hint="check the path", field="path", subject=path)
    return InvalidRequest(f"{path!r}: {error.strerror}", hint="check the path", field="path", subject=path)


def told(counts: dict[str, int]) -> None:
    """Say what was not copied as it was."""
    for key, what in (
        ("skipped_devices", "device nodes were left out: only a container's start can make some"),
        ("sockets", "sockets were left out: no archive can hold them"),
        ("changed", "files changed or went while they were read"),
    ):
        if counts.get(key):
            progress(f"wharfie: {counts[key]} {what}")


def export(engine: Engine, options: Namespace) -> int:
    """The whole root as a tar stream."""
    with engine.files.export(options.container) as stream:
        if options.output is None:
            return send(stream, sys.stdout.buffer)
        with outfile(options.output, "the archive") as file:
            return send(stream, file)


def diff(engine: Engine, options: Namespace) -> int:
    """What a container changed of its image, a letter and a path a line."""
    for change in engine.files.changes(options.container):
        print(change.kind.value, clean(change.path.encode(errors="backslashreplace").decode()))
    return 0


def commit(engine: Engine, options: Namespace) -> int:
    """Make an image of a container, and print its id."""
    spec = CommitSpec(options.image, options.author, options.message, tuple(options.change), options.pause)
    image = engine.commit(options.container, spec)
    print(image.id)
    return 0


def send(stream: Outgoing, sink: BinaryIO) -> int:
    """All of it; a terminal is not the place for that."""
    if sink.isatty():
        raise InvalidRequest("this is a tar archive, and no text", hint="send it into a file or a pipe")
    while data := stream.read():
        sink.write(data)
    sink.flush()
    told(stream.counts)
    return 0
