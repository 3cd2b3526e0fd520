"""Names, ids, digests, sizes and signals: parsed once, at the edge, into what the rest trusts. How times look."""

from __future__ import annotations

import re
import secrets
import shlex
import signal
import time

from engine.errors import InvalidRequest

CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,63}")
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
OBJECT_ID = re.compile(r"[0-9a-f]{64}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*")
# Distribution reference grammar, pkg.go.dev/github.com/distribution/reference: name[:tag], no digest here.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]{1,5})?"
REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)(?::(?P<tag>[\w][\w.-]{{0,127}}))?", re.ASCII
)

SIZE_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)


def new_id() -> str:
    """A random 256-bit id in lower-case hexadecimal, as Docker shows ids."""
    return secrets.token_hex(32)


def timestamp(time_ns: int) -> str:
    """A time since 1970 as RFC 3339 has it, in UTC, to the nanosecond."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time_ns // 10**9))}.{time_ns % 10**9:09d}Z"


def container_name(text: str) -> str:
    """A container's name, or InvalidRequest."""
    if not CONTAINER_NAME.fullmatch(text):
        raise InvalidRequest(
            f"{text!r} is not a container name",
            hint="use 2 to 64 letters, digits, '_', '.' and '-', beginning with a letter or digit",
            field="name",
        )
    if OBJECT_ID.fullmatch(text):
        raise InvalidRequest(f"{text!r} looks like an id", hint="choose a name that is not 64 hex digits", field="name")
    return text


def volume_name(text: str, field: str = "name") -> str:
    """A volume's name, or InvalidRequest."""
    if not VOLUME_NAME.fullmatch(text):
        raise InvalidRequest(
            f"{text!r} is not a volume name",
            hint="use 1 to 64 letters, digits, '_', '.' and '-', beginning with a letter or digit",
            field=field,
        )
    return text


def hostname(text: str, field: str = "hostname") -> str:
    """A hostname of at most 64 characters (sethostname(2)), or InvalidRequest."""
    if len(text) > 64 or not HOSTNAME.fullmatch(text):
        raise InvalidRequest(
            f"{text!r} is not a hostname",
            hint="use letters, digits, '-' and '.'; at most 64 characters",
            field=field,
        )
    return text


def image_reference(text: str) -> str:
    """An image reference with its tag written out (``name:latest`` when none is given), or InvalidRequest."""
    match = REFERENCE.fullmatch(text)
    if not match or len(match["name"]) > 255:
        raise InvalidRequest(
            f"{text!r} is not an image name",
            hint="write it like debian, debian:12 or host:5000/team/app:1.0",
            field="image",
        )
    return f"{match['name']}:{match['tag'] or 'latest'}"


def digest(text: str) -> str:
    """A ``sha256:`` digest (OCI image-spec descriptor.md, "Digests"), or InvalidRequest."""
    if not DIGEST.fullmatch(text):
        raise InvalidRequest(f"{text!r} is not a sha256 digest")
    return text


def size_bytes(text: str | int, field: str = "") -> int:
    """A size such as ``512m`` or ``1.5 GiB`` in bytes (units of 1024, as Docker), or InvalidRequest."""
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise InvalidRequest(f"{text!r} is not a size", hint="write it like 512m or 2g", field=field)
    value = float(match[1]) * SIZE_UNITS[match[2].lower()]
    if value >= 2**63:
        raise InvalidRequest(f"{text!r} is too large", field=field)
    return int(value)


def signal_number(text: str | int, field: str = "signal") -> int:
    """A signal by number or name (``TERM``, ``SIGTERM``, ``15``, ``RTMIN+3``), or InvalidRequest; signal(7)."""
    word = str(text).strip().upper()
    if word.isascii() and word.isdigit() and 1 <= int(word) <= 64:
        return int(word)
    base, plus, offset = word.removeprefix("SIG").partition("+")
    number = getattr(signal, f"SIG{base}", None) if base.isalnum() else None
    if isinstance(number, signal.Signals):
        value = int(number) + (int(offset) if plus and offset.isdigit() else 0)
        if (not plus or (base == "RTMIN" and offset.isdigit())) and value <= 64:
            return value
    raise InvalidRequest(f"{text!r} is not a signal", hint="write it like TERM, SIGKILL or 15", field=field)


def words(text: str, field: str = "") -> tuple[str, ...]:
    """A command's words, split as a POSIX shell would; nothing is expanded. InvalidRequest when quotes do not match."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        if "quotation" in str(error):
            hint = "close the quote, or write \\' for a plain one"
            raise InvalidRequest("a quote is not closed", hint=hint, field=field) from error
        hint = "take it away, or write \\\\ for a plain one"
        raise InvalidRequest("a backslash at the end escapes nothing", hint=hint, field=field) from error


def environment(lines: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """``NAME=value`` entries, the last of a name wins, order kept, or InvalidRequest; environ(7)."""
    return tuple(f"{name}={value}" for name, value in _pairs(lines, "a variable", "env").items())


def labels(lines: list[str] | tuple[str, ...]) -> dict[str, str]:
    """``NAME=value`` entries as a table, or InvalidRequest."""
    return _pairs(lines, "a label", "labels")


def user(text: str) -> None:
    """InvalidRequest unless it may be a user: a name or number, perhaps with a group behind a colon; passwd(5)."""
    if any(character.isspace() or not character.isprintable() for character in text):
        raise InvalidRequest(f"{text!r} is not a user", hint="write name or uid:gid, without spaces", field="user")


def _pairs(lines: list[str] | tuple[str, ...], what: str, field: str) -> dict[str, str]:
    seen: dict[str, str] = {}
    for line in lines:
        name, sign, value = line.partition("=")
        if not sign or not name or "\0" in line:
            raise InvalidRequest(f"{line!r} is not {what}", hint="write NAME=value", field=field)
        seen.pop(name, None)
        seen[name] = value
    return seen
