"""What the launcher holds, every shim shares: it must stay small."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from console.supervisor import answering
from engine import ContainerSpec, Engine

TOP = Path(__file__).resolve().parents[3]
# Every public module of the standard library that it may hold. A new one is a decision: what does a container pay?
ALLOWED = {
    "abc", "array", "builtins", "codecs", "collections", "contextlib", "copyreg", "ctypes", "encodings", "enum",
    "errno", "fcntl", "functools", "gc", "genericpath", "importlib", "io", "itertools", "json", "keyword", "marshal",
    "math", "operator", "os", "posix", "posixpath", "re", "reprlib", "resource", "select", "selectors", "signal",
    "socket", "stat", "struct", "sys", "termios", "time", "types", "typing", "warnings", "zipimport",
}  # fmt: skip
# What is loaded of C beside the interpreter itself; Debian's has most of these built in.
ALLOWED_OBJECTS = {
    "_ctypes",
    "_json",
    "_socket",
    "_struct",
    "_typing",
    "array",
    "fcntl",
    "math",
    "resource",
    "select",
    "termios",
}


def imported(then: str = "pass") -> set[str]:
    """What is loaded once the launcher's program is, and has done something."""
    code = f"import sys; sys.path.insert(0, {str(TOP)!r}); import engine.launcher.__main__; {then}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_launcher_imports_little() -> None:
    modules = {name.split(".")[0] for name in imported()}
    assert "engine" in modules
    assert {name for name in modules if not name.startswith("_")} - {"engine"} - ALLOWED == set()


def test_of_the_engine_it_holds_only_what_a_container_needs() -> None:
    packages = {".".join(name.split(".")[:2]) for name in imported() if name.startswith("engine.")}
    assert packages <= {"engine.cgroups", "engine.errors", "engine.hostpaths", "engine.launcher", "engine.linux",
                        "engine.shim", "engine.storage"}  # fmt: skip


def test_a_running_launcher_and_its_shims_have_loaded_nothing_more(dock: Engine) -> None:
    container = dock.create(ContainerSpec(image="busybox", command=("sleep", "1000")))
    dock.start(container.id)
    for pid in (answering(str(dock.paths.launcher_socket)), dock._records.shim(container.id)):
        maps = Path(f"/proc/{pid}/maps").read_text()
        objects = set(re.findall(r"/lib-dynload/(\w+)\.", maps))
        assert objects <= ALLOWED_OBJECTS
        assert "site-packages" not in maps


def named(node: ast.AST) -> Iterator[str]:
    """The modules that an import statement names, so far as there are such."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            below = (TOP / f"{node.module}.{alias.name}".replace(".", "/")).with_suffix(".py")
            yield f"{node.module}.{alias.name}" if below.exists() else str(node.module)


def test_what_a_shim_imports_later_is_loaded_already() -> None:
    """It lives for months and starts its container again: by then another version may lie on the disk."""
    loaded = imported("engine.cgroups.manager.group('any', 'any')")  # before any fork it joins its own
    later = [
        name
        for module in sorted(loaded)
        if module.startswith("engine.") and (path := (TOP / module.replace(".", "/")).with_suffix(".py")).exists()
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        for name in named(node)
    ]
    assert "engine.cgroups.v1" in later
    assert set(later) <= loaded
