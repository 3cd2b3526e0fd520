"""Instructions that change an image's config, as `docker commit --change` takes them: a Dockerfile's, one a line.

docs.docker.com/reference/dockerfile; values are not expanded.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
import re
from collections.abc import Iterable

from engine import names
from engine.errors import InvalidRequest
from engine.images.spec import ImageConfig

SHELL = ("/bin/sh", "-c")
_PORT = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp|sctp))?")
_PAIR = re.compile(r"[^\s=]+=")


def apply(config: ImageConfig, lines: Iterable[str]) -> ImageConfig:
    """The config with all of them applied in order, or InvalidRequest."""
    command_set = False
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        word, rest = word.upper(), rest.strip()
        if not rest:
            raise _wrong(line, 'write an instruction and its value, as CMD ["/bin/true"]')
        if word == "CMD":
            config, command_set = dataclasses.replace(config, cmd=_command(rest)), True
        elif word == "ENTRYPOINT":  # a command that was meant for another entrypoint goes
            config = dataclasses.replace(config, entrypoint=_command(rest), cmd=config.cmd if command_set else ())
        elif word == "ENV":
            config = dataclasses.replace(config, env=names.environment((*config.env, *_pairs(rest, line))))
        elif word == "LABEL":
            config = dataclasses.replace(config, labels=config.labels | names.labels(_pairs(rest, line)))
        elif word == "USER":
            config = dataclasses.replace(config, user=rest)
        elif word == "WORKDIR":
            config = dataclasses.replace(config, workdir=_workdir(config.workdir, rest, line))
        elif word == "STOPSIGNAL":
            names.signal_number(rest, "changes")
            config = dataclasses.replace(config, stop_signal=rest)
        elif word == "EXPOSE":
            ports = {_port(text, line) for text in rest.split()}
            config = dataclasses.replace(config, exposed_ports=tuple(sorted({*config.exposed_ports, *ports})))
        elif word == "VOLUME":
            added = _list(rest) or names.words(rest, "changes")
            config = dataclasses.replace(config, volumes=tuple(sorted({*config.volumes, *added})))
        elif word == "ONBUILD":
            config = dataclasses.replace(config, on_build=(*config.on_build, rest))
        else:
            known = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR"
            raise _wrong(line, f"there are {known}")
    return config


def _command(text: str) -> tuple[str, ...]:
    """A JSON list is the words; anything else is for the shell."""
    return _list(text) or (*SHELL, text)


def _list(text: str) -> tuple[str, ...]:
    """The texts of a JSON list; () when it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return tuple(found) if isinstance(found, list) and all(isinstance(word, str) for word in found) else ()


def _pairs(text: str, line: str) -> tuple[str, ...]:
    """``a=1 b="2 3"``, or ``a 1``, as NAME=value."""
    if _PAIR.match(text):
        return names.words(text, "changes")
    name, space, value = text.partition(" ")
    if not space:
        raise _wrong(line, "write NAME=value")
    return (f"{name}={value.strip()}",)


def _workdir(before: str, text: str, line: str) -> str:
    path = posixpath.join(before or "/", text)
    if ".." in path.split("/"):
        raise _wrong(line, "write it without ..")
    return posixpath.normpath(path)


def _port(text: str, line: str) -> str:
    if not _PORT.fullmatch(text):
        raise _wrong(line, "write a port like 80 or 53/udp")
    return text if "/" in text else f"{text}/tcp"


def _wrong(line: str, hint: str) -> InvalidRequest:
    return InvalidRequest(f"{line!r} changes nothing in an image", hint=hint, field="changes")
