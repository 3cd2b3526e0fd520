"""Restart policy and health check on the command line: Docker's flags."""

from __future__ import annotations

import argparse
import re
from argparse import Namespace

from engine import HealthCheck, RestartPolicy
from engine.errors import InvalidRequest

TIMES = {  # flag, and what it says
    "health_interval": "between two checks, as 30s",
    "health_timeout": "of one check, which has failed then, as 30s",
    "health_start_period": "after the start, in which failures do not count",
    "health_start_interval": "between two checks in the start period",
}
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def flags(command: argparse.ArgumentParser) -> None:
    """Those of `run` and `create`."""
    option = command.add_argument
    restart_flag(command)
    option("--health-cmd", metavar="COMMAND", help="a shell command that ends with 0 when all is well")
    for name, help_text in TIMES.items():
        option(f"--{name.replace('_', '-')}", metavar="TIME", help=help_text)
    option("--health-retries", type=int, metavar="N", help="failures in a row that make it unhealthy")
    option("--no-healthcheck", action="store_true", help="leave the image's check out")


def restart_flag(command: argparse.ArgumentParser) -> None:
    """The one that `update` has too."""
    modes = "no, on-failure[:N], always or unless-stopped"
    command.add_argument("--restart", metavar="POLICY", help=f"what happens when it has ended: {modes}")


def restart(options: Namespace) -> RestartPolicy | None:
    """What was given."""
    return None if options.restart is None else RestartPolicy.parse(options.restart)


def health(options: Namespace) -> HealthCheck | None:
    """What was given; None leaves it to the image."""
    given = {f"{name.removeprefix('health_')}_s": seconds(text) for name in TIMES if (text := getattr(options, name))}
    if options.health_retries is not None:
        given["retries"] = options.health_retries
    if options.no_healthcheck:
        if options.health_cmd or given:
            raise InvalidRequest("--no-healthcheck goes with no other flag of health", hint="leave the others out")
        return HealthCheck(test=())
    if options.health_cmd is None:
        if given:
            raise InvalidRequest("a health check needs a command", hint="give --health-cmd", field="health")
        return None
    return HealthCheck(test=("/bin/sh", "-c", options.health_cmd), **given)


def seconds(text: str) -> float:
    """A length of time such as 500ms, 30s, 1m30s; InvalidRequest for anything else."""
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidRequest(f"{text!r} is no length of time", hint="write it like 500ms, 30s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
