"""A seccomp profile in Docker's JSON format, compiled; docs.docker.com/engine/security/seccomp.

Written by whoever: every part has its type and its bounds, and what is not understood is refused rather than left out.
Two things differ from Docker: other ABIs than x86-64 stay closed whatever the profile says, and two rules without
conditions may not decide one call differently. A name that x86-64 does not have is skipped: nobody can call it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any, NoReturn

from engine.errors import InvalidRequest
from engine.linux import capabilities, seccomp
from engine.linux.numbers import X86_64
from engine.linux.seccomp import Condition, Rule

MAX_BYTES = 256 * 2**10  # Docker's own has 12 KiB
MAX_ERRNO = 4095  # linux/err.h MAX_ERRNO
ARCHITECTURE, MACHINE = "SCMP_ARCH_X86_64", "amd64"
NEEDED = ("execve", "exit_group", "write")  # between the filter and the command; and to say why it came to nothing
ACTIONS = {
    "SCMP_ACT_ALLOW": seccomp.ALLOW,
    "SCMP_ACT_LOG": seccomp.LOG,
    "SCMP_ACT_ERRNO": seccomp.ERRNO,
    "SCMP_ACT_TRAP": seccomp.TRAP,
    "SCMP_ACT_KILL": seccomp.KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": seccomp.KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": seccomp.KILL_PROCESS,
}
OPERATIONS = {f"SCMP_CMP_{word}": word for word in ("EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ")}
_KERNEL = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")

Fields = dict[str, Callable[[Any], Any]]  # a key of a JSON object, and what checks and reads its value


def compile_profile(text: str, capabilities: frozenset[str]) -> bytes:
    """The filter of a container with these capabilities, or InvalidRequest saying what is wrong where."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        _refuse(f"it is larger than {MAX_BYTES // 1024} KiB")
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        _refuse(f"it is no JSON: {error}")
    profile = _object(document, "the profile", _PROFILE)
    if "defaultAction" not in profile:
        _refuse("it has no defaultAction")
    known = {*profile.get("architectures", ()), *(each["architecture"] for each in profile.get("archMap", ()))}
    if known and ARCHITECTURE not in known:
        _refuse(f"it is not for {ARCHITECTURE}")
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"), "defaultErrnoRet")
    rules: dict[int, list[Rule]] = {}
    for number, entry in enumerate(profile.get("syscalls", ())):
        where = f"syscalls[{number}]"
        if "action" not in entry or ("names" in entry) == ("name" in entry):
            _refuse(f"{where} needs an action, and either names or a name")
        if not _applies(entry, capabilities):
            continue
        action = _action(entry["action"], entry.get("errnoRet"), f"{where}.errnoRet")
        for name in entry.get("names", [entry.get("name")]):
            if name in X86_64:
                _add(rules.setdefault(X86_64[name], []), action, entry.get("args", []), f"{where}: {name}")
    for name in NEEDED:
        chain = [*rules.get(X86_64[name], ()), Rule(default)]
        if not any(rule.action in (seccomp.ALLOW, seccomp.LOG) for rule in chain[: _decided(chain)]):
            _refuse(f"with it nothing could be started: it does not allow {name}")
    try:
        return seccomp.compile_rules(rules, default)
    except ValueError as error:
        _refuse(str(error))


def _decided(chain: list[Rule]) -> int:
    """How many rules there are up to the first without conditions: those behind it never come into play."""
    return 1 + next(number for number, rule in enumerate(chain) if not rule.conditions)


def _refuse(why: str) -> NoReturn:
    raise InvalidRequest(
        f"the seccomp profile cannot be used: {why}",
        hint="write it in Docker's format: docs.docker.com/engine/security/seccomp",
        field="seccomp",
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse("a key is there twice in one object")
    return found


def _add(chain: list[Rule], action: int, args: list[dict[str, Any]], where: str) -> None:
    """Add the rules of one entry. Two conditions on one argument are alternatives, as in Docker; else all must hold."""
    conditions = [Condition(arg["index"], arg["op"], arg.get("value", 0), arg.get("valueTwo", 0)) for arg in args]
    if len({each.argument for each in conditions}) == len(conditions):
        wanted = [Rule(action, tuple(conditions))]
    else:
        wanted = [Rule(action, (each,)) for each in conditions]
    for rule in wanted:
        if not chain or chain[-1].conditions:
            chain.append(rule)
        elif not rule.conditions and rule.action != chain[-1].action:
            _refuse(f"{where} is decided twice, and differently")
        elif rule.conditions:
            chain.insert(-1, rule)  # what has no condition comes last


def _action(name: str, number: int | None, where: str) -> int:
    action = ACTIONS[name]
    if action != seccomp.ERRNO:
        if number:
            _refuse(f"{where} goes with SCMP_ACT_ERRNO only")
        return action
    return action | (seccomp.EPERM & 0xFFFF if number is None else number)


def _applies(entry: dict[str, Any], capabilities: frozenset[str]) -> bool:
    wanted, unwanted = entry.get("includes", {}), entry.get("excludes", {})
    if not capabilities.issuperset(wanted.get("caps", ())) or not capabilities.isdisjoint(unwanted.get("caps", ())):
        return False
    if (wanted.get("arches") and MACHINE not in wanted["arches"]) or MACHINE in unwanted.get("arches", ()):
        return False
    kernel = _version(os.uname().release)
    return kernel >= wanted.get("minKernel", (0, 0)) and not kernel >= unwanted.get("minKernel", (9999, 0))


def _version(text: str) -> tuple[int, int]:
    found = _KERNEL.match(text)
    if not found:
        _refuse(f"{text!r} is not a version of the kernel")
    return int(found[1]), int(found[2])


# Readers of values: each returns what is wanted, or refuses.


def _object(value: Any, where: str, fields: Fields) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(f"{where} is not an object")
    unknown = sorted(value.keys() - fields.keys())
    if unknown:
        _refuse(f"{where} has {unknown[0]!r}, which means nothing here")
    return {key: fields[key](each) for key, each in value.items() if each is not None}


def _list_of(read: Callable[[Any], Any], where: str) -> Callable[[Any], list[Any]]:
    def read_all(value: Any) -> list[Any]:
        if not isinstance(value, list):
            _refuse(f"{where} is not a list")
        return [read(each) for each in value]

    return read_all


def _word(where: str, known: dict[str, Any] | None = None) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or (known is not None and value not in known):
            _refuse(f"{where} cannot be {value!r:.60}")
        return value

    return read


def _integer(where: str, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not 0 <= value <= most:
            _refuse(f"{where} cannot be {value!r:.60}; it is a number from 0 to {most}")
        return value

    return read


def _capability(value: Any) -> str:
    name: str = _word("a capability")(value).removeprefix("CAP_")
    if name not in capabilities.ALL:
        _refuse(f"there is no capability {value!r:.60}")
    return name


def _empty(where: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value:
            _refuse(f"{where} is not supported")
        return value

    return read


def _when(value: Any) -> dict[str, Any]:
    return _object(
        value,
        "includes or excludes",
        {
            "caps": _list_of(_capability, "caps"),
            "arches": _list_of(_word("an architecture"), "arches"),
            "minKernel": lambda version: _version(_word("minKernel")(version)),
        },
    )


def _argument(value: Any) -> dict[str, Any]:
    found = _object(
        value,
        "an argument's condition",
        {
            "index": _integer("index", 5),
            "value": _integer("value", 2**64 - 1),
            "valueTwo": _integer("valueTwo", 2**64 - 1),
            "op": lambda op: OPERATIONS[_word("op", OPERATIONS)(op)],
        },
    )
    if "index" not in found or "op" not in found:
        _refuse("an argument's condition needs an index and an op")
    return found


def _entry(value: Any) -> dict[str, Any]:
    return _object(
        value,
        "an entry of syscalls",
        {
            "names": _list_of(_word("a system call"), "names"),
            "name": _word("a system call"),
            "action": _word("action", ACTIONS),
            "errnoRet": _integer("errnoRet", MAX_ERRNO),
            "errno": _word("errno"),  # Podman's name for the number beside it
            "args": _list_of(_argument, "args"),
            "includes": _when,
            "excludes": _when,
            "comment": _word("comment"),
        },
    )


def _architecture(value: Any) -> dict[str, Any]:
    wanted: Fields = {
        "architecture": _word("architecture"),
        "subArchitectures": _list_of(_word("an architecture"), "subArchitectures"),
    }
    found = _object(value, "an entry of archMap", wanted)
    if "architecture" not in found:
        _refuse("an entry of archMap has no architecture")
    return found


_PROFILE: Fields = {
    "defaultAction": _word("defaultAction", ACTIONS),
    "defaultErrnoRet": _integer("defaultErrnoRet", MAX_ERRNO),
    "defaultErrno": _word("defaultErrno"),
    "architectures": _list_of(_word("an architecture"), "architectures"),
    "archMap": _list_of(_architecture, "archMap"),
    "syscalls": _list_of(_entry, "syscalls"),
    "flags": _empty("flags"),
    "listenerPath": _empty("listenerPath"),
    "listenerMetadata": _empty("listenerMetadata"),
}
