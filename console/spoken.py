"""Which texts the engine has for people, read from its source. `makemessages` puts them into the catalogue, which is
the only list of them (`console/said.py`); one that nobody translated fails a test. The engine marks nothing: it knows
nothing of translations. What makes a text one for people is where it goes, to a `message`, `hint`, `why` or the like.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from console.said import PLACE
from engine import errors

WORD = re.compile("[A-Za-z]{2}")
# What stands in a place of a sentence and is a word itself, but comes there by ways that are not followed here.
WORDS = {
    "start", "stop", "restart", "kill", "signal", "pause", "unpause", "rename", "update", "exec", "copy", "remove",
    "created", "running", "paused", "restarting", "exited", "broken", "memory", "memory and swap",
    "the number of processes", "the CPU weight", "the disk weight", "a limit of a disk of the host",
    "a directory of the host", "author", "message", "interval", "timeout", "start interval", "start period",
    "this process", "the engine",
    "NFS", "FUSE", "overlayfs (it looks like the inside of a container)",
}  # fmt: skip
# What the kernel says of what it refuses, as far as people meet it.
KERNEL = {
    "No such file or directory", "Permission denied", "Operation not permitted", "Is a directory", "Not a directory",
    "Exec format error", "File exists", "Device or resource busy", "Invalid argument", "Read-only file system",
    "No space left on device", "Text file busy", "Too many levels of symbolic links", "File name too long",
}  # fmt: skip
# What RE2 says of a pattern that is none.
PATTERNS = {
    "invalid escape sequence", "invalid character class", "invalid character class range", "missing ]", "missing )",
    "unexpected )", "trailing \\", "no argument for repetition operator", "invalid repetition size",
    "bad repetition operator", "invalid perl operator", "invalid named capture group",
    "pattern too large - compile failed",
}  # fmt: skip
SPOKEN = {"broken", "hint", "why", "what", "good", "reason"}
# Who says what it is given, and does not tell by the names of its parameters; "": that argument is not for people.
CALLS = {
    "from_os": ("", "doing"),
    "Check": ("good", "", "", "good", "hint"),
    "finding": ("good", "", "good", "hint"),
    "say": ("step",),
    "_say": ("step",),
    "progress": ("step",),
}
LISTS = {"wrong": "", "reasons": "", "notes": "step"}  # what is in one is said
COMMAND_LINE = {"engine/backup/restore.py", "engine/config.py"}  # nobody meets what these say on a page
# What of the console reads forms and command lines alike, and speaks as the engine does.
CONSOLE = tuple(f"console/{name}.py" for name in ("database", "isolation", "limits", "loglines", "mounts", "upkeep"))


class Source:
    """The engine, and what of the console speaks as it does: what serves pages and the command line alike."""

    def __init__(self, top: Path) -> None:
        self._modules: dict[str, list[ast.AST]] = {}
        for path in sorted([*(top / "engine").rglob("*.py"), *(top / name for name in CONSOLE)]):
            if (name := path.relative_to(top).as_posix()) not in COMMAND_LINE:
                self.add(name, path.read_text())

    def add(self, name: str, text: str) -> None:
        """One more module."""
        nodes = ast.walk(ast.parse(text))
        self._modules[name] = [node for node in nodes if isinstance(node, ast.Call | ast.Assign | ast.FunctionDef)]

    def texts(self) -> list[str]:
        """All of them, each once, as templates: what is put in at run time is `%(name)s`."""
        every = {text for _where, _node, texts in self.spoken() for text in texts or ()}
        return sorted(text for text in every | WORDS | KERNEL | PATTERNS if WORD.search(PLACE.sub("", text)))

    def spoken(self) -> Iterator[tuple[str, ast.expr, list[str] | None]]:
        """Module, expression, and the texts that it may have; None where the source does not say which."""
        for name, nodes in self._modules.items():
            named = _named(nodes)
            for node, role in _arguments(nodes, self._known | _speakers(nodes) | CALLS):
                texts = _texts(node, named, self._constants)
                yield name, node, [_as(role, text) for text in texts] if texts else texts

    @cached_property
    def _known(self) -> dict[str, tuple[str, ...]]:
        every = {name: roles for nodes in self._modules.values() for name, roles in _speakers(nodes).items() if roles}
        public = {name: roles for name, roles in every.items() if not name.startswith("_")}
        classes = (kind for kind in vars(errors).values() if isinstance(kind, type))
        return public | {kind.__name__: ("message",) for kind in classes if issubclass(kind, errors.EngineError)}

    @cached_property
    def _constants(self) -> dict[str, list[ast.expr]]:
        return {
            name: values for nodes in self._modules.values() for name, values in _named(nodes).items() if name.isupper()
        }


def _as(role: str, text: str) -> str:
    """What becomes of a text on its way."""
    if role == "doing":  # the kernel says how that failed
        return f"{text}: %(error)s"
    return text.partition(": ")[0] if role == "step" else text  # of what follows, figures change all the time


def _arguments(nodes: list[ast.AST], known: dict[str, tuple[str, ...]]) -> Iterator[tuple[ast.expr, str]]:
    """What is given to somebody who says it, or is called something that is said; and what it is there."""
    for node in nodes:
        if isinstance(node, ast.Call):
            callee = _last(node.func)
            if roles := known.get(callee):
                yield from ((given, role) for given, role in zip(node.args, roles, strict=False) if role)
                yield from ((each.value, each.arg) for each in node.keywords if each.arg in SPOKEN)
            elif callee == "append" and isinstance(node.func, ast.Attribute) and _last(node.func.value) in LISTS:
                yield node.args[0], LISTS[_last(node.func.value)]
        elif isinstance(node, ast.Assign):
            name, value = _last(node.targets[0]), node.value
            if name in SPOKEN:
                yield value, ""
            elif name in LISTS and isinstance(value, ast.List | ast.ListComp):
                yield from ((each, "") for each in (value.elts if isinstance(value, ast.List) else [value.elt]))


def _speakers(nodes: list[ast.AST]) -> dict[str, tuple[str, ...]]:
    """Functions, and what their parameters are: said, or ""; () of one that says nothing."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
            names = [each.arg for each in node.args.args if each.arg not in ("self", "cls")]
            speaks = SPOKEN & {*names, *(each.arg for each in node.args.kwonlyargs)}
            found[node.name] = tuple(name if name in SPOKEN | {"message"} else "" for name in names) if speaks else ()
    return found


def _named(nodes: list[ast.AST]) -> dict[str, list[ast.expr]]:
    """What each name in a module may stand for."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def _texts(node: ast.expr, named: dict[str, list[ast.expr]], constants: dict[str, list[ast.expr]]) -> list[str] | None:
    """The templates that an expression may come to; "" says nothing and is none."""

    def each(*nodes: ast.expr) -> list[str] | None:
        found = [_texts(one, named, constants) for one in nodes]
        return None if None in found else [text for texts in found for text in texts or ()]

    match node:
        case ast.Constant(value=str(text)):
            return [text] if text else []
        case ast.JoinedStr(values=parts):
            return [_template(parts)]
        case ast.IfExp(body=body, orelse=orelse):
            return each(body, orelse)
        case ast.BoolOp(op=ast.Or(), values=values):
            return each(values[-1])  # what comes before is the kernel's word
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            one, other = each(left), each(right)
            ends = [*(other or ()), *([""] if isinstance(right, ast.IfExp) and _empty(right) else [])]
            return None if one is None or other is None else ["".join(two) for two in itertools.product(one, ends)]
        case ast.Dict(values=values):
            return each(*values)
        case ast.Call(func=ast.Attribute(value=table, attr="get"), args=[_, *default]):
            return each(table, *default)
        case ast.Name(id=name) if name in SPOKEN:
            return []  # read where it gets its value
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in named or name in constants:
            return each(*named.get(name, constants.get(name, ())))
        case ast.Call(func=ast.Name(id="_")) | ast.BinOp(left=ast.Call(func=ast.Name(id="_")), op=ast.Mod()):
            return []  # marked by itself
    return None


def _empty(choice: ast.IfExp) -> bool:
    return any(isinstance(each, ast.Constant) and each.value == "" for each in (choice.body, choice.orelse))


def _template(parts: list[ast.expr]) -> str:
    taken: dict[str, int] = {}
    text = ""
    for part in parts:
        if isinstance(part, ast.FormattedValue):
            name = _last(part.value).strip("_").lower() or "value"
            taken[name] = taken.get(name, 0) + 1
            text += f"%({name}{taken[name] if taken[name] > 1 else ''})s"
        elif isinstance(part, ast.Constant):
            text += part.value.replace("%", "%%")
    return text


def _last(node: ast.expr) -> str:
    """What an expression is called: the last name in `container.name`, the argument's of `printable(name)`."""
    match node:
        case ast.Attribute(value=enumerated, attr="value"):
            return _last(enumerated)
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case ast.Call(args=[first, *_]):
            return _last(first)
        case ast.Call(func=function):
            return _last(function)
        case ast.BinOp(left=inner) | ast.Subscript(value=inner) | ast.BoolOp(values=[inner, *_]):
            return _last(inner)
    return next((each.id for each in ast.walk(node) if isinstance(each, ast.Name)), "")
