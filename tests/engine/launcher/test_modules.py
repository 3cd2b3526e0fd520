"""What the launcher holds, every shim shares: it must stay small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
# Heavy ones that slip in through an innocent import; each would cost every container memory.
UNWANTED = {
    "asyncio", "concurrent", "dataclasses", "django", "email", "hashlib", "http", "inspect", "logging",
    "multiprocessing", "pathlib", "pyroute2", "random", "shutil", "sqlite3", "subprocess", "tempfile", "threading",
    "typing_extensions", "urllib",
}  # fmt: skip


def test_the_launcher_imports_little() -> None:
    code = f"import sys; sys.path.insert(0, {str(TOP)!r}); import engine.launcher.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    modules = {name.split(".")[0] for name in done.stdout.split()}
    assert "engine" in modules
    assert modules & UNWANTED == set()
