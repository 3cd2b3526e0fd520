"""Run a container's health check now, for whoever looks. Its accounts are its shim's: this run is not in them."""

from __future__ import annotations

import signal
import time

from engine.containers.execution import Executions
from engine.containers.spec import Container, ExecSpec, HealthResult
from engine.errors import Unavailable, WrongState
from engine.linux import pidfds, process
from engine.security.spec import Caller
from engine.shim.health import OUTPUT_BYTES


def check(executions: Executions, container: Container, caller: Caller) -> HealthResult:
    """How it went; one that takes longer than the check may is killed. WrongState when there is no check."""
    wanted = container.spec.health
    if wanted is None:
        raise WrongState(
            f"container {container.name!r} has no health check", hint="create one with a check", subject=container.name
        )
    began_ns = time.time_ns()
    code: int | None
    with executions.run(container, ExecSpec(wanted.test, stdin=False), caller) as execution:
        start_time = process.start_time(execution.pid)
        try:
            code, output, complaints = execution.output(timeout_s=wanted.timeout_s, most_bytes=OUTPUT_BYTES)
            said = output + complaints
        except Unavailable:
            code, said = None, b"took too long, and was killed"
            if start_time is not None:
                pidfds.kill(execution.pid, start_time, signal.SIGKILL)
    return HealthResult(began_ns, time.time_ns(), code, said[:OUTPUT_BYTES].decode("utf-8", "replace"))
