"""The table of faults names tests that exist, and every fault once."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
TABLE = (TOP / "docs/faults.md").read_text()


def test_every_named_test_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TABLE)
    assert len(named) > 30
    missing = [f"{path}::{name}" for path, name in named if not has(TOP / path, name)]
    assert missing == []


def has(path: Path, name: str) -> bool:
    return path.exists() and (not name or f"\ndef {name}(" in path.read_text())


def test_every_fault_has_a_row() -> None:
    rows = " ".join(line.split("|")[1] for line in TABLE.splitlines() if line.startswith("| F"))
    assert [int(number) for number in re.findall(r"F(\d+)", rows)] == list(range(1, 37))
