"""Run the unpack worker as the launcher does: in a fresh, single-threaded process that has nothing but the stdlib."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

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


_SERVER = """
import base64, json, os, sys, time
sys.path.insert(0, sys.argv[1])
from engine.archives.worker import unpack
from engine.errors import EngineError
for line in iter(sys.stdin.readline, ""):
    request = json.loads(line)
    stream = os.memfd_create("archive")
    os.write(stream, base64.b64decode(request.pop("archive")))
    os.lseek(stream, 0, os.SEEK_SET)
    target = os.open(request.pop("target"), os.O_RDONLY | os.O_DIRECTORY)
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            unpack(request, [stream, target])
            code = 0
        except EngineError:
            code = 2
        finally:
            os._exit(code)
    _, status, used = os.wait4(pid, 0)
    os.close(stream)
    os.close(target)
    answer = {"code": os.waitstatus_to_exitcode(status), "took_s": time.monotonic() - began, "kib": used.ru_maxrss}
    print(json.dumps(answer), flush=True)
"""


class Unpacker:
    """The same again and again, each in a fork: for many archives."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", "-c", _SERVER, str(TOP)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=90)

    def unpack(self, archive: bytes, target: Path) -> dict[str, Any]:
        """code (0: unpacked, 2: refused, else neither), took_s, and kib: the most memory that a process of it had."""
        request = {"archive": base64.b64encode(archive).decode(), "target": str(target), "uid_base": UID_BASE}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request | {"deadline_s": 60, "max_bytes": 2**24}).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer
