"""Run the unpack worker as the launcher does: in a fresh, single-threaded process that has nothing but the stdlib."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.errors import from_wire

TOP = Path(__file__).resolve().parents[3]
UID_BASE = 1_900_000_000  # far above what instances take on a host under test

_PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from engine.archives.worker import unpack
from engine.errors import EngineError
try:
    answer = {"result": unpack(json.loads(sys.argv[2]), json.loads(sys.argv[3]))}
except EngineError as error:
    answer = {"error": error.to_wire()}
print(json.dumps(answer))
"""


def unpack(request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """`engine.archives.worker.unpack` in a process of its own."""
    request = {"uid_base": UID_BASE, "deadline_s": 60} | request
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _PROGRAM, str(TOP), json.dumps(request), json.dumps(fds)],
        pass_fds=fds,
        stdout=subprocess.PIPE,
        check=True,
        timeout=90,
    )
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise from_wire(answer["error"])
    result: dict[str, Any] = answer["result"]
    return result
