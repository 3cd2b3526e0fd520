"""What `make lint` says of these sources, beside all other tests: types take one processor half a minute."""

from __future__ import annotations

import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]


def test_lint_finds_nothing() -> None:
    done = subprocess.run(["scripts/lint"], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
