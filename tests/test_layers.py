"""Imports point down, and a few things are done in one place only. The map: docs/architecture.md, "Packages"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
# The lowest first. What stands in one row does not import its neighbours.
ENGINE = (
    ("errors",),
    ("names",),
    ("config",),
    ("linux",),
    ("storage", "cgroups", "security", "hostpaths"),
    ("policy",),
    ("archives", "shim", "events"),
    ("files",),
    ("launcher",),
    ("images", "volumes", "metrics", "backup"),
    ("containers",),
    ("doctor",),
    ("api",),
)
RANK = {name: rank for rank, row in enumerate(ENGINE) for name in row}
# Specs are plain data that every rank may name.
SPECS = {f"engine.{part}.spec" for part in ("containers", "images", "metrics", "security", "volumes")}
# Parts of the console that serve the pages; everything else with a urls.py is a page.
# The names are the vocabulary: a form and the engine must agree on what a name is.
CONSOLE_FACADE = {"engine", "engine.errors", "engine.names"}
# These set up the instance itself and so know where things lie.
CONSOLE_FOUNDATION = {
    "console/backups.py",
    "console/certificate.py",
    "console/commandline.py",
    "console/commands.py",
    "console/database.py",
    "console/migration.py",
    "console/preflight.py",
    "console/secret.py",
    "console/settings.py",
    "console/supervisor.py",
}


def sources(*directories: str) -> list[Path]:
    return [path for directory in directories for path in sorted((TOP / directory).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """The modules that a file names, wherever in it: ``from engine.a import b`` gives engine.a."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            module = node.module or ""
            # `from engine import names` names a module; `from engine import Engine` the facade.
            for alias in node.names:
                names_module = module == "engine" and alias.name in RANK
                yield f"{module}.{alias.name}" if names_module else module


def relative(path: Path) -> str:
    return str(path.relative_to(TOP))


def part(module: str) -> str:
    """``engine.linux.mount`` -> linux."""
    return module.split(".")[1]


def test_every_part_of_the_engine_has_a_rank() -> None:
    parts = {path.stem for path in (TOP / "engine").iterdir() if path.name[0] not in "_."}
    assert parts <= set(RANK), "give it a row in ENGINE and in docs/architecture.md"


def test_imports_of_the_engine_point_down() -> None:
    wrong = []
    for path in sources("engine"):
        own = path.relative_to(TOP / "engine").parts[0].removesuffix(".py")
        for module in imports(path):
            if not module.startswith("engine.") or module in SPECS or own == "__init__":
                continue
            if part(module) != own and RANK[part(module)] >= RANK[own]:
                wrong.append(f"{relative(path)} imports {module}")
    assert wrong == []


def test_specs_import_nothing_of_the_engine() -> None:
    for path in sources("engine"):
        if path.name == "spec.py":
            own = {module for module in imports(path) if module.startswith("engine")}
            assert own <= {"engine.errors", "engine.names"} | SPECS


def test_the_engine_knows_nothing_of_the_console() -> None:
    for path in sources("engine"):
        strangers = {module for module in imports(path) if module.split(".")[0] in {"django", "channels", "console"}}
        assert not strangers, relative(path)


def test_the_console_sees_the_facade_only() -> None:
    wrong = [
        f"{relative(path)} imports {module}"
        for path in sources("console")
        if relative(path) not in CONSOLE_FOUNDATION
        for module in imports(path)
        if module.split(".")[0] == "engine" and module not in CONSOLE_FACADE
    ]
    assert wrong == []


def test_pages_do_not_import_each_other() -> None:
    # A page is a directory with views. All others may name the accounts' users, and have their long work run as jobs.
    pages = {path.relative_to(TOP / "console").parts[0] for path in sources("console") if path.name == "views.py"} - {
        "accounts",
        "jobs",
    }
    wrong = [
        f"{relative(path)} imports {module}"
        for page in pages
        for path in sources(f"console/{page}")
        for module in imports(path)
        if module.startswith("console.") and part(module) in pages - {page}
    ]
    assert wrong == []


def test_ctypes_is_for_the_kernels_door_alone() -> None:
    users = {relative(path) for path in sources("engine", "console") if "ctypes" in set(imports(path))}
    assert all(user.startswith("engine/linux/") for user in users), users


@pytest.mark.parametrize("call", ["os.system", "os.popen", "extractall", "tarfile.extract", "eval", "exec"])
def test_nobody_calls(call: str) -> None:
    """A shell in between, archives that choose where they write, text that becomes code."""
    callers = []
    for path in sources("engine", "console"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name == call or ("." not in call and name.endswith(f".{call}") and call == "extractall"):
                    callers.append(f"{relative(path)}:{node.lineno}")
    assert callers == []


def test_nobody_asks_for_a_shell() -> None:
    callers = [
        f"{relative(path)}:{node.lineno}"
        for path in sources("engine", "console")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword) and node.arg == "shell" and getattr(node.value, "value", True) is not False
    ]
    assert callers == []


def test_the_supervisor_and_the_command_line_are_light() -> None:
    """The one stays small for as long as the console is up; the other must start at once."""
    light = {"__future__", "_signal", "_socket", "fcntl", "os", "select", "struct", "sys", "time"}
    late = {
        "console.onhost",
        "console.preflight",
        "engine.cgroups",
        "engine.config",
        "engine.linux.process",
        "engine.storage.instance",
        "json",
    }  # before and after
    assert set(imports(TOP / "console/supervisor.py")) == light | late
    for name in ("commandline", "commands", "terminal"):
        assert not {module for module in imports(TOP / f"console/{name}.py") if module.startswith("django")}


def test_files_are_short_enough_to_read() -> None:
    lengths = {relative(path): len(path.read_text().splitlines()) for path in sources("engine", "console")}
    facade = lengths.pop("engine/api.py")  # a list: one short method for each act, and nothing else
    assert facade < 500
    assert {path: lines for path, lines in lengths.items() if lines > 300} == {}


def test_what_is_imported_is_installed_with_the_product() -> None:
    """A package that only the tests' requirements bring is there in every test, and missing on every other host."""
    of = packages_distributions()
    locked = {line.partition("==")[0] for line in (TOP / "requirements/base.txt").read_text().split("\n")}
    missing = {
        f"{relative(path)}: {module}"
        for path in sources("engine", "console")
        for module in {name.partition(".")[0] for name in imports(path)}
        if module in of and not locked & {re.sub(r"[-_.]+", "-", name).lower() for name in of[module]}
    }
    assert missing == set()
