"""The verbs of the command line that act on containers that are there, and those that look into one."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from argparse import Namespace
from typing import Any

from console import upkeep
from console.commands import each
from console.limits import limits
from console.terminal import complain, progress, table
from console.text import size
from engine import Container, Counters, Engine, WaitFor, for_admins
from engine.errors import EngineError, InvalidRequest, NotFound, WrongState

CLEAR = "\x1b[H\x1b[J"
INTERVAL_S = 1.0


def restart(engine: Engine, options: Namespace) -> int:
    """Stop and start each."""
    return each(options.containers, lambda ref: engine.restart(ref, options.time))


def pause(engine: Engine, options: Namespace) -> int:
    """Freeze each."""
    return each(options.containers, engine.pause)


def unpause(engine: Engine, options: Namespace) -> int:
    """Let each go on."""
    return each(options.containers, engine.unpause)


def rename(engine: Engine, options: Namespace) -> int:
    """Give one another name."""
    engine.rename(options.container, options.name)
    return 0


def update(engine: Engine, options: Namespace) -> int:
    """Give each other limits, or another restart policy."""
    wanted, restart = limits(options), upkeep.restart(options)
    if wanted == type(wanted)() and restart is None:
        raise InvalidRequest("no change is given", hint="give one, as --memory 512m; see `wharfie update --help`")
    return each(options.containers, lambda ref: engine.update(ref, wanted, restart))


def wait(engine: Engine, options: Namespace) -> int:
    """Print each one's exit code when it has ended; the text ``unknown`` where nobody could learn it."""
    code = 0
    for ref in options.containers:
        try:
            ended = engine.wait_for(ref, WaitFor(options.condition))
        except EngineError as error:
            code = complain(error)
            continue
        print("unknown" if ended is None or ended.code is None else ended.code, flush=True)
    return code


def inspect(engine: Engine, options: Namespace) -> int:
    """Print all that is known of each, as one JSON list."""
    code, found = 0, []
    for ref in options.containers:
        try:
            container = engine.inspect(ref)
            found.append(dataclasses.asdict(container))
            warn(container)
        except EngineError as error:
            code = complain(error)
    print(json.dumps(found, indent=4))
    return code


def warn(container: Container) -> None:
    """Say on stderr what a container may do that others may not; in red when its root is root of this host."""
    for field, option in for_admins(container.spec).items():
        line = f"wharfie: {container.name}: {option}" + (": root inside is root of this host" * (field == "userns"))
        progress(line, red=field == "userns")


def stats(engine: Engine, options: Namespace) -> int:
    """Print what running containers use, again and again."""
    before: dict[str, tuple[int, Counters]] = {}
    for ref in options.containers:
        engine.counters(ref)  # which says so when it does not run
    while True:
        chosen = [engine.inspect(ref) for ref in options.containers] or engine.running()
        now = {c.id: (c, time.monotonic_ns(), used) for c in chosen if (used := _counters(engine, c)) is not None}
        if options.json:
            for c, at, used in now.values():
                print(json.dumps({"id": c.id, "name": c.name, "time_ns": at} | plain(used)), flush=True)
        elif before or not now:
            if not options.no_stream and sys.stdout.isatty():
                print(CLEAR, end="")
            table(HEAD, [_row(c, at, used, before.get(c.id)) for c, at, used in now.values()])
            sys.stdout.flush()
        if options.no_stream and (before or options.json or not now):
            return 0
        before = {name: (at, used) for name, (_, at, used) in now.items()}
        time.sleep(INTERVAL_S)


def _counters(engine: Engine, container: Container) -> Counters | None:
    """None when it does not run, or has ended between two looks."""
    try:
        return engine.counters(container.id)
    except (WrongState, NotFound):
        return None


def plain(used: Counters) -> dict[str, Any]:
    """Counters by name, those that are parts of parts too."""
    return {name: part._asdict() if hasattr(part, "_asdict") else part for name, part in used._asdict().items()}


HEAD = ("CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "BLOCK I/O", "PIDS")


def _row(container: Container, at: int, used: Counters, before: tuple[int, Counters] | None) -> tuple[str, ...]:
    """As `docker stats` has it; -- for what is not counted here."""
    cpu = memory = share = traffic = "--"
    if used.cpu and before and before[1].cpu and at > before[0]:
        cpu = f"{100 * (used.cpu.time_ns - before[1].cpu.time_ns) / (at - before[0]):.2f}%"
    most = container.spec.limits.memory_bytes
    if used.memory and most:
        held = used.memory.working_set_bytes
        memory, share = f"{size(held)} / {size(most)}", f"{100 * held / most:.2f}%"
    if used.io:
        traffic = f"{size(used.io.read_bytes)} / {size(used.io.written_bytes)}"
    pids = "--" if used.pids is None else str(used.pids)
    return container.short_id, container.name, cpu, memory, share, traffic, pids
