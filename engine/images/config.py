"""An image's config document, read strictly; OCI image-spec config.md.

It comes from outside and decides what runs, so what is not of its type is refused. Keys that speak to an
engine about the host (HostConfig and the like) are not read at all.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from engine import names, policy
from engine.containers.spec import HealthCheck
from engine.errors import InvalidRequest, Unsupported
from engine.images.spec import ImageConfig

CONFIG_BYTES = 8 * 2**20
MANIFEST_BYTES = 4 * 2**20
LAYERS = 127
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # uname -m -> GOARCH

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """Where an image's last layer comes from; OCI image-spec config.md, "history"."""

    created_at_ns: int  # Unix time
    created_by: str
    author: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ParsedConfig:
    """What an image's config says."""

    config: ImageConfig
    diff_ids: tuple[str, ...]  # the lowest first
    architecture: str


def host_architecture() -> str:
    """This host's architecture as images name it."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def parse_json(data: bytes, part: str) -> Any:
    """A JSON document without duplicate keys: two readers of one must not see two documents."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the image's {part} is not valid JSON", hint="make the archive again") from error


def parse(data: bytes) -> ParsedConfig:
    """Read a config document. InvalidRequest when it is malformed, Unsupported when it is not for this host."""
    document = typed(parse_json(data, "config"), dict, "config")
    architecture = typed(document.get("architecture", ""), str, "architecture")
    system = typed(document.get("os") or "linux", str, "os")
    if system != "linux" or architecture != host_architecture():
        raise Unsupported(
            f"the image is for {system}/{architecture or '?'}, this host is linux/{host_architecture()}",
            hint=f"get the image for linux/{host_architecture()}, with --platform where it is pulled",
        )
    diff_ids = typed(typed(document.get("rootfs"), dict, "rootfs").get("diff_ids"), list, "rootfs.diff_ids")
    if not 1 <= len(diff_ids) <= LAYERS:
        raise InvalidRequest(f"the image has {len(diff_ids)} layers", hint=f"it must have 1 to {LAYERS}: flatten it")
    return ParsedConfig(
        config=_image_config(typed(document.get("config") or {}, dict, "config")),
        diff_ids=tuple(names.digest(typed(diff_id, str, "diff id")) for diff_id in diff_ids),
        architecture=architecture,
    )


def typed(value: Any, kind: type, part: str) -> Any:
    """``value`` if it is of that type, or InvalidRequest; text must be encodable and without NUL."""
    if not isinstance(value, kind):
        raise InvalidRequest(f"the image's {part} is not of the right type", hint="make the archive again")
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
        raise InvalidRequest(f"the image's {part} holds a byte that no text has")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def _image_config(section: Document) -> ImageConfig:
    workdir = typed(section.get("WorkingDir") or "/", str, "WorkingDir")
    if ".." in workdir.split("/"):
        raise InvalidRequest("the image's WorkingDir has '..' in it")
    stop_signal = typed(section.get("StopSignal") or "SIGTERM", str, "StopSignal")
    names.signal_number(stop_signal)
    labels = typed(section.get("Labels") or {}, dict, "Labels")
    return ImageConfig(
        env=names.environment(_strings(section, "Env")),
        entrypoint=_strings(section, "Entrypoint"),
        cmd=_strings(section, "Cmd"),
        user=typed(section.get("User") or "", str, "User"),
        workdir=workdir if workdir.startswith("/") else f"/{workdir}",
        stop_signal=stop_signal,
        labels={typed(key, str, "label"): typed(value, str, "label") for key, value in labels.items()},
        volumes=_keys(section, "Volumes"),
        exposed_ports=_keys(section, "ExposedPorts"),
        health=_health(typed(section.get("Healthcheck") or {}, dict, "Healthcheck")),
        on_build=_strings(section, "OnBuild"),
    )


def _health(section: Document) -> HealthCheck | None:
    """Docker's image specification, "Healthcheck": times in nanoseconds, 0 for the default."""
    kind, *words = _strings(section, "Test") or ("",)
    if kind not in ("", "NONE", "CMD", "CMD-SHELL") or (kind == "CMD-SHELL" and len(words) != 1):
        raise InvalidRequest("the image's Healthcheck has a Test that is none")
    if not words:
        return None
    times = {
        field: typed(section.get(key) or 0, int, key) / 1e9
        for field, key in (
            ("interval_s", "Interval"), ("timeout_s", "Timeout"), ("start_period_s", "StartPeriod"),
            ("start_interval_s", "StartInterval"),
        )
    }  # fmt: skip
    retries = typed(section.get("Retries") or 0, int, "Retries")
    given = {name: value for name, value in (times | {"retries": retries}).items() if value}
    check = HealthCheck(("/bin/sh", "-c", *words) if kind == "CMD-SHELL" else tuple(words), **given)
    policy.check_health(check)
    return check


def _healthcheck(check: HealthCheck | None) -> Document:
    """The section that `_health` reads."""
    if check is None:
        return {"Test": ["NONE"]}
    return {
        "Test": ["CMD", *check.test],
        "Interval": round(check.interval_s * 1e9),
        "Timeout": round(check.timeout_s * 1e9),
        "StartPeriod": round(check.start_period_s * 1e9),
        "StartInterval": round(check.start_interval_s * 1e9),
        "Retries": check.retries,
    }


def _strings(section: Document, key: str) -> tuple[str, ...]:
    return tuple(typed(item, str, key) for item in typed(section.get(key) or [], list, key))


def _keys(section: Document, key: str) -> tuple[str, ...]:
    return tuple(sorted(typed(item, str, key) for item in typed(section.get(key) or {}, dict, key)))


def make(config: ImageConfig, diff_ids: list[str]) -> bytes:
    """A config document for an image made here; the same input gives the same bytes, so the same image id."""
    document = {
        "architecture": host_architecture(),
        "config": {"Cmd": list(config.cmd), "Env": list(config.env), "WorkingDir": config.workdir},
        "os": "linux",
        "rootfs": {"diff_ids": diff_ids, "type": "layers"},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def derive(base: bytes, config: ImageConfig, diff_id: str | None, made: History) -> bytes:
    """The config of an image that adds a layer, or only settings, to another; what this does not know is kept."""
    document = parse_json(base, "config")
    section: Document = document.get("config") or {}
    for key, value in (
        ("Env", list(config.env)),
        ("Entrypoint", list(config.entrypoint)),
        ("Cmd", list(config.cmd)),
        ("User", config.user),
        ("WorkingDir", config.workdir),
        ("StopSignal", config.stop_signal if config.stop_signal != "SIGTERM" else ""),
        ("Labels", config.labels),
        ("Volumes", {path: {} for path in config.volumes}),
        ("ExposedPorts", {port: {} for port in config.exposed_ports}),
        ("OnBuild", list(config.on_build)),
    ):
        section.pop(key, None)
        if value:
            section[key] = value
    if config.health != _health(typed(section.get("Healthcheck") or {}, dict, "Healthcheck")):
        section["Healthcheck"] = _healthcheck(config.health)
    diff_ids = document["rootfs"]["diff_ids"]
    history: list[Document] = [entry for entry in document.get("history") or [] if isinstance(entry, dict)]
    told = sum(not entry.get("empty_layer") for entry in history)
    # One entry for each layer, in their order: those that nobody has told of lie below.
    history = [{"comment": "nothing is known of this layer"}] * max(0, len(diff_ids) - told) + history
    created = names.timestamp(made.created_at_ns)
    entry: Document = {"created": created, "created_by": made.created_by, "author": made.author}
    entry |= {"comment": made.comment, "empty_layer": diff_id is None}
    history.append({key: value for key, value in entry.items() if value})
    document |= {"config": section, "created": created, "history": history}
    document["rootfs"] = {"type": "layers", "diff_ids": [*diff_ids, *([diff_id] if diff_id else [])]}
    if made.author:
        document["author"] = made.author
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
