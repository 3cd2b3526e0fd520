"""Make a system call of another process fail, or be its last; strace(1) "inject"."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from engine import Engine
from tests.conftest import wait_readable

TOP = Path(__file__).resolve().parents[3]
KILL = "signal=SIGKILL"


def error(name: str) -> str:
    """What strace is told to answer instead of the kernel."""
    return f"error={name}"


class Injection:
    """What an attached strace has done, known once it has let go."""

    struck = False  # whether the call was made, and hit


@contextmanager
def injected(pid: int, call: str, number: int | str, fault: str) -> Iterator[Injection]:
    """While inside, the ``number``-th ``call`` of a process of one thread meets ``fault``; "1+": each."""
    injection = Injection()
    with traced(pid, "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={number}") as told:
        yield injection
    if fault == KILL:  # it may not have come to say more than the call
        injection.struck = len(re.findall(rf"^{call}\(", told[0], re.MULTILINE)) >= int(number)
    else:
        injection.struck = any(word in told[0] for word in ("(INJECTED)", "(DELAYED)"))


@contextmanager
def traced(pid: int, *options: str) -> Iterator[list[str]]:
    """Under strace(1) while inside; what that has written stands in the list once it has let go."""
    told: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "strace"
        command = ["strace", "--quiet=exit", "-o", str(output), "-p", str(pid), *options]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as tracer:
            try:
                # That it says so comes after the process can go on no more; its pid in proc_pid_status(5) before.
                assert tracer.stderr is not None
                assert wait_readable(tracer.stderr.fileno(), 10), "strace does not attach"
                said = tracer.stderr.readline().decode()
                assert said.endswith(" attached\n"), said
                yield told
            finally:
                tracer.terminate()  # it lets the process go
        told.append(output.read_text(errors="replace"))


_SERVER = """
import json, os, sys
from pathlib import Path
from engine import *
from engine import errors
config = Config(Path(sys.argv[1]), Path(sys.argv[2]))
names = vars(sys.modules["engine"]) | {"Path": Path, "errors": errors}
for line in iter(sys.stdin.readline, ""):
    act = json.loads(line)
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": status}), flush=True)
        continue
    answer = {}
    try:
        engine = Engine(config, spawn_launcher=True)
        print(json.dumps({"pid": os.getpid()}), flush=True)
        sys.stdin.readline()
        eval(act, names, {"engine": engine})
    except EngineError as error:
        answer = {"error": error.to_wire()}
    except BaseException as error:
        answer = {"raw": repr(error)}
    os.write(1, json.dumps(answer).encode() + bytes([10]))  # at once, or not at all
    os._exit(0)
"""


class Actor:
    """Another process with an Engine: it does each act in a fork, so that one can be hit without much ado."""

    def __init__(self, engine: Engine) -> None:
        command = [sys.executable, "-c", _SERVER, str(engine.config.root), str(engine.config.run)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=TOP, text=True, bufsize=1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def act(
        self, expression: str, call: str = "", number: int | str = 0, fault: str = ""
    ) -> tuple[dict[str, Any], bool]:
        """Evaluate an expression with ``engine``, perhaps under a fault. What it answered ({} for success, "killed",
        "error", or "raw" for what no caller should ever see), and whether the fault struck."""
        self._say(json.dumps(expression))
        started = self._hear()
        if not call:
            self._say("go")
            return self._end(), False
        with injected(started["pid"], call, number, fault) as injection:
            self._say("go")
            answer = self._end()
        return answer, injection.struck

    def counted(self, expression: str, calls: Iterable[str]) -> Counter[str]:
        """Do an act that nothing hinders; how often it makes each of these calls."""
        self._say(json.dumps(expression))
        with traced(self._hear()["pid"], "-e", f"trace={','.join(calls)}") as told:
            self._say("go")
            assert self._end() == {}
        return Counter(re.findall(r"^(\w+)\(", told[0], re.MULTILINE))

    def _end(self) -> dict[str, Any]:
        answer = self._hear()
        if "status" in answer:
            return {"killed": answer["status"]}
        self._hear()
        return answer

    def _say(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer
