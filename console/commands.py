"""What each verb of the command line does: one call or two of the facade, and a few lines of text."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from console import isolation, sessions, text, upkeep
from console.limits import limits
from console.mounts import mounts
from console.terminal import ago, complain, documents, progress, shorten, show, show_lost, status, table
from engine import Config, Container, ContainerSpec, Engine, RestartPolicy, names
from engine.errors import AlreadyExists, EngineError, InvalidRequest
from engine.storage.paths import Paths

STOP_AT_ONCE = 16  # `down` waits for so many containers side by side


def run(engine: Engine, options: Namespace) -> int:
    """Create and start; attached, print what it writes and end as it ends."""
    if options.rm and options.restart not in (None, "no"):
        raise InvalidRequest("--rm and --restart do not go together", hint="leave one of them out", field="restart")
    if options.detach and options.rm:
        raise InvalidRequest("-d and --rm do not go together", hint="nobody would be there to remove it: leave one out")
    if options.tty and not options.detach:
        sessions.demand_terminal("-t")
    container, left = _created(engine, spec(options)), False
    try:
        engine.start(container.id)
        if options.detach:
            print(container.id)
            return 0
        if not options.tty:
            return sessions.attend(engine, container)
        code = sessions.sit_before(engine, container)
        left = engine.inspect(container.id).state.alive
        if left and options.rm:
            progress("it will not be removed when it ends: nobody is here then")
        return code
    finally:
        if options.rm and not left:
            engine.remove(container.id, force=True)


def create(engine: Engine, options: Namespace) -> int:
    """Create, and print the id."""
    print(_created(engine, spec(options)).id)
    return 0


def _created(engine: Engine, wish: ContainerSpec) -> Container:
    """Create it, and with it the named volumes that are not there yet, as `docker run` does; all of it or nothing."""
    made: list[str] = []
    try:
        for mount in wish.volumes:
            with contextlib.suppress(AlreadyExists):
                made.append(engine.create_volume(mount.volume).name)
        return engine.create(wish)
    except EngineError:
        for name in made:
            engine.remove_volume(name)
        raise


def start(engine: Engine, options: Namespace) -> int:
    """Start each."""
    return each(options.containers, lambda ref: engine.start(ref))


def stop(engine: Engine, options: Namespace) -> int:
    """Stop each."""
    return each(options.containers, lambda ref: engine.stop(ref, options.time))


def kill(engine: Engine, options: Namespace) -> int:
    """Signal each."""
    return each(options.containers, lambda ref: engine.kill(ref, options.signal))


def remove(engine: Engine, options: Namespace) -> int:
    """Remove each."""
    return each(options.containers, lambda ref: engine.remove(ref, force=options.force))


def each(refs: Sequence[str], act: Callable[[str], object]) -> int:
    """Do it to every one; one that fails keeps no other from its turn. The exit code is the last failure's."""
    code = 0
    for ref in refs:
        try:
            act(ref)
            print(ref)
        except EngineError as error:
            code = complain(error)
    return code


def down(_options: Namespace) -> int:
    """Stop all that runs, many at once; says nothing when nothing runs, and makes nothing where nothing ever ran."""
    if not Paths(Config.from_environment()).database.exists():
        return 0
    code = 0
    with Engine(spawn_launcher=False) as engine, ThreadPoolExecutor(STOP_AT_ONCE) as pool:
        for container, stopped in [(c, pool.submit(engine.stop, c.id)) for c in engine.running()]:
            try:
                stopped.result()
                print(f"stopped {container.name}")
            except EngineError as error:
                code = complain(error)
    return code


def doctor(options: Namespace) -> int:
    """Print what was found; 1 when something is missing without which nothing runs, 2 when something else is wrong."""
    from engine import doctor as instance_doctor
    from engine.linux import probe  # not through an Engine: where this is needed, none may be possible

    config = Config.from_environment()
    host = probe.report(config.root)
    checks = [*host.checks, *(() if host.fatal else instance_doctor.examine(config, deep=options.deep))]
    if options.json:
        documents(checks)
    else:
        for check in checks:
            mark = "ok  " if check.ok else "FAIL" if check.fatal else "loss"
            print(f"{mark}  {check.name}: {text.clean(check.text)}")
            if check.hint:
                print(f"      {check.hint}")
    if any(check.fatal and not check.ok for check in checks):
        return 1
    return 0 if all(check.ok for check in checks[len(host.checks) :]) else 2


def ps(engine: Engine, options: Namespace) -> int:
    """List."""
    shown = [c for c in engine.containers() if options.all or c.state.alive]
    if options.quiet:
        print("".join(f"{container.short_id}\n" for container in shown), end="")
    elif options.json:
        documents(shown)
    else:
        rows = [
            (c.short_id, c.image, shorten(shlex.join(c.argv), 30), ago(c.created_at_ns), status(c), c.name)
            for c in shown
        ]
        table(("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAME"), rows)
    return 0


def logs(engine: Engine, options: Namespace) -> int:
    """Print a log."""
    since_ns = moment_ns(options.since) if options.since else None
    plain = options.tail is None and since_ns is None and not options.follow and not options.timestamps
    if plain and not sys.stdout.isatty():
        with contextlib.closing(engine.log_tail(options.container)) as reader:
            for line in reader.read(1):
                show_lost(line)
        streams = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
        for stream, _time_ns, data in engine.log_bytes(options.container):
            streams[stream].write(data)
            if stream == "stderr":
                sys.stderr.buffer.flush()
        sys.stdout.flush()
        return 0
    for line in engine.logs(options.container, tail=options.tail, follow=options.follow, since_ns=since_ns):
        show(line, stamp=options.timestamps, flush=options.follow)
    return 0


def images(engine: Engine, options: Namespace) -> int:
    """List, load, make the starter, remove."""
    if options.act == "load":
        source = sys.stdin.buffer if options.file == "-" else Path(options.file)
        for image in engine.load_image(source, name=options.name, progress=progress):
            print(image.tags[0] if image.tags else image.id)
    elif options.act == "starter":
        print(engine.make_starter_image(progress).tags[0])
    elif options.act == "rm":
        return each(options.images, lambda ref: engine.remove_image(ref, force=options.force))
    elif options.json:
        documents(engine.images())
    else:
        rows = [
            (tag, image.short_id, text.size(image.size_bytes), ago(image.created_at_ns), str(image.used_by))
            for image in engine.images()
            for tag in image.tags or ("<none>",)
        ]
        table(("IMAGE", "ID", "SIZE", "ARRIVED", "CONTAINERS"), rows)
    return 0


def volumes(engine: Engine, options: Namespace) -> int:
    """List, create, remove."""
    if options.act == "create":
        return each(options.names, engine.create_volume)
    if options.act == "rm":
        return each(options.names, engine.remove_volume)
    found = engine.volumes()
    if options.json:
        documents(found)
    else:
        table(("VOLUME", "CREATED", "USED BY"), [(v.name, ago(v.created_at_ns), ", ".join(v.used_by)) for v in found])
    return 0


def spec(options: Namespace) -> ContainerSpec:
    """The flags of `run` and `create` as a request."""
    env = [line for file in options.env_file for line in env_lines(file)]
    for entry in options.env:
        if "=" in entry or entry in os.environ:
            env.append(entry if "=" in entry else f"{entry}={os.environ[entry]}")
    mounted = mounts(options)
    return ContainerSpec(
        image=options.image,
        name=options.name,
        command=tuple(options.command) or None,
        entrypoint=None if options.entrypoint is None else names.words(options.entrypoint, "entrypoint"),
        env=tuple(env),
        user=options.user,
        workdir=options.workdir,
        hostname=options.hostname,
        domainname=options.domainname,
        network=isolation.network(options),
        namespaces=isolation.namespaces(options),
        security=isolation.security(options),
        limits=limits(options),
        volumes=mounted.volumes,
        binds=mounted.binds,
        tmpfs=mounted.tmpfs,
        stop_signal=options.stop_signal,
        stop_timeout_s=options.stop_timeout,
        tty=options.tty,
        stdin=options.interactive,
        stdin_once=options.interactive and not options.tty and not getattr(options, "detach", True),
        init=options.init,
        restart=upkeep.restart(options) or RestartPolicy(),
        health=upkeep.health(options),
        labels=names.labels(options.label),
    )


def env_lines(file: Path) -> list[str]:
    """The variables in a file: a line each, empty ones and comments left out."""
    try:
        return text.lines(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        hint = "name a text file with a line NAME=value for each variable"
        raise InvalidRequest(f"{file} cannot be read: {why}", hint=hint, field="env") from error


def moment_ns(when: str) -> int:
    """A time or an age as Unix time in ns, or InvalidRequest."""
    if match := re.fullmatch(r"([0-9]+)([smhd])", when):
        seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
        return time.time_ns() - seconds * 10**9
    try:
        return int(datetime.datetime.fromisoformat(when).timestamp() * 10**9)
    except ValueError:
        raise InvalidRequest(f"{when!r} is not a time", hint="write it like 2026-01-31T12:00:00Z or 10m") from None
