"""``manage.py wharfie``: the engine's facade for scripts, and for when the browser is out of reach.

Flags are Docker's where Docker has them. Exit codes too: the container's own from `run`, 125 when the
engine failed, 126 and 127 when the command cannot be invoked or is not there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from engine.errors import EngineError

Handler = Callable[..., int]  # takes the engine and the options; the options only when it works alone


def main(argv: list[str]) -> int:
    """Run one command; returns its exit code."""
    options = parser().parse_args(argv)
    try:
        if options.alone:
            return int(options.handler(options))
        from engine import Engine

        with Engine(spawn_launcher=True) as engine:
            engine.take_over()
            return int(options.handler(engine, options))
    except EngineError as error:
        from console.terminal import complain

        return complain(error)
    except BrokenPipeError:
        # `wharfie logs | head`: whoever read has read enough. Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    from console import acts, backups, commands, limits, upkeep

    top = argparse.ArgumentParser(prog="wharfie", description="Run and watch containers on this host.")
    verbs = top.add_subparsers(required=True, metavar="COMMAND")
    for verb, help_text, handler in (
        ("run", "create a container and start it", commands.run),
        ("create", "create a container", commands.create),
    ):
        _creation(add(verbs, verb, help_text, handler), attached=verb == "run")
    for verb, help_text, handler in (
        ("start", "start containers", commands.start),
        ("stop", "stop containers: their stop signal, then KILL", commands.stop),
        ("restart", "stop containers and start them again", acts.restart),
        ("kill", "send a signal to containers", commands.kill),
        ("pause", "freeze containers", acts.pause),
        ("unpause", "let paused containers go on", acts.unpause),
        ("update", "change limits and restart policy of containers, running or not", acts.update),
        ("wait", "wait for containers, then print their exit codes", acts.wait),
        ("inspect", "print all that is known of containers", acts.inspect),
        ("rm", "remove containers", commands.remove),
    ):
        command = add(verbs, verb, help_text, handler)
        command.add_argument("containers", nargs="+", metavar="CONTAINER", help="name, id or beginning of an id")
        if verb in ("stop", "restart"):
            told = "before KILL; -1: for ever; default: its own"
            command.add_argument("-t", "--time", type=float, metavar="SECONDS", help=told)
        elif verb == "update":
            limits.flags(command)
            upkeep.restart_flag(command)
        elif verb == "wait":
            kinds = ("not-running", "next-exit", "removed")
            command.add_argument("--condition", choices=kinds, default=kinds[0], help="default: not-running")
        elif verb == "kill":
            command.add_argument("-s", "--signal", default="KILL", help="name or number (default: KILL)")
        elif verb == "rm":
            command.add_argument("-f", "--force", action="store_true", help="kill it first if it runs")
    rename = add(verbs, "rename", "give a container another name", acts.rename)
    rename.add_argument("container", metavar="CONTAINER")
    rename.add_argument("name", metavar="NEW_NAME")
    stats = add(verbs, "stats", "show what running containers use", acts.stats)
    stats.add_argument("containers", nargs="*", metavar="CONTAINER", help="default: all that run")
    stats.add_argument("--no-stream", action="store_true", help="once")
    stats.add_argument("--json", action="store_true", help="every counter, one JSON document a line")
    ps = add(verbs, "ps", "list containers", commands.ps)
    ps.add_argument("-a", "--all", action="store_true", help="those that do not run too")
    ps.add_argument("-q", "--quiet", action="store_true", help="ids only")
    ps.add_argument("--json", action="store_true", help="one JSON document a line")
    logs = add(verbs, "logs", "print what a container wrote", commands.logs)
    logs.add_argument("container", metavar="CONTAINER")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until it ends")
    logs.add_argument("-n", "--tail", type=_count, metavar="N", help="the last N lines only")
    logs.add_argument("--since", metavar="WHEN", help="as 2026-01-31T12:00:00Z, or how long ago: 90s, 10m, 2h, 1d")
    logs.add_argument("-t", "--timestamps", action="store_true", help="a time before each line")
    _sessions(verbs)
    _files(verbs)
    _images(add(verbs, "images", "list images; load, starter, rm", commands.images))
    _volumes(add(verbs, "volumes", "list volumes; create, rm", commands.volumes))
    doctor = add(verbs, "doctor", "say what is wrong with this host or the store, and what to do", commands.doctor)
    doctor.add_argument("--deep", action="store_true", help="read every file of every image, too")
    doctor.add_argument("--json", action="store_true", help="one JSON document a line")
    doctor.set_defaults(alone=True)
    backup = add(verbs, "backup", "write everything into one file, while containers run", backups.backup)
    backup.add_argument("file", metavar="FILE", help="a path; - writes to standard output")
    backup.add_argument("--no-images", action="store_true", help="leave the layers of images out")
    backup.add_argument("--no-volumes", action="store_true", help="leave the data of volumes out")
    restore = add(verbs, "restore", "take everything back from such a file", backups.restore)
    restore.add_argument("file", metavar="FILE", help="a path; - reads standard input")
    restore.add_argument("--force", action="store_true", help="replace all that WHARFIE_ROOT holds now")
    restore.set_defaults(alone=True)
    purge = add(
        verbs, "purge", "stop everything and delete all containers, images, volumes and accounts", backups.purge
    )
    purge.add_argument("--yes", action="store_true", help="yes, all of it")
    purge.set_defaults(alone=True)
    add(verbs, "down", "stop every running container", commands.down).set_defaults(alone=True)
    return top


def add(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], verb: str, text: str, handler: Handler
) -> argparse.ArgumentParser:
    """One verb."""
    command = verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(handler=handler, alone=False)
    return command


def _creation(command: argparse.ArgumentParser, *, attached: bool) -> None:
    from console import isolation, limits, mounts, upkeep

    option = command.add_argument
    if attached:
        option("-d", "--detach", action="store_true", help="print the id and leave it running")
        option("-i", "--interactive", action="store_true", help="it reads what comes here")
        option("-t", "--tty", action="store_true", help="in a terminal; Ctrl-P Ctrl-Q leaves it running")
        option("--rm", action="store_true", help="remove it when it has ended")
    else:
        option("-i", "--interactive", action="store_true", help="who attaches can type to it")
        option("-t", "--tty", action="store_true", help="it has a terminal")
    option("--init", action="store_true", help="a small program is PID 1: it passes signals on and reaps")
    option("--name", default="", help="a name; one is made up otherwise")
    option("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="without =VALUE: this shell's")
    option("--env-file", action="append", default=[], type=Path, metavar="FILE", help="lines NAME=VALUE")
    option("-u", "--user", metavar="USER[:GROUP]", help="names or numbers")
    option("-w", "--workdir", metavar="DIR")
    option("--hostname", default="", metavar="NAME")
    option("--entrypoint", metavar="PROGRAM", help="replaces the image's")
    mounts.flags(command)
    limits.flags(command)
    upkeep.flags(command)
    isolation.flags(command)
    option("--stop-signal", metavar="SIGNAL")
    option("--stop-timeout", type=float, default=10.0, metavar="SECONDS", help="before KILL: 10; -1: for ever")
    option("--label", action="append", default=[], metavar="NAME=VALUE")
    option("image", metavar="IMAGE")
    option("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="replaces the image's, with its arguments")


def _sessions(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from console import sessions

    run = add(verbs, "exec", "run a further command in a running container", sessions.execute)
    run.add_argument("-i", "--interactive", action="store_true", help="it reads what comes here")
    run.add_argument("-t", "--tty", action="store_true", help="in a terminal; Ctrl-P Ctrl-Q leaves it open")
    run.add_argument("-d", "--detach", action="store_true", help="do not wait for it; what it writes is lost")
    run.add_argument("-u", "--user", metavar="USER[:GROUP]", help="default: the container's")
    run.add_argument("--privileged", action="store_true", help="with every capability inside its user namespace")
    run.add_argument(
        "--toolbox", action="store_true",
        help="with the tools of wharfie/starter, for an image that has none; the container's files are at /container",
    )  # fmt: skip
    run.add_argument("-w", "--workdir", metavar="PATH", help="default: the container's")
    run.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE", help="added to the container's")
    run.add_argument("container", metavar="CONTAINER")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    attach = add(verbs, "attach", "sit down in front of a container, or of an open terminal in it", sessions.attach)
    attach.add_argument("container", metavar="CONTAINER")
    attach.add_argument("--session", metavar="ID", help="which; default: the first process's")


def _files(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from console import copying

    copy = add(verbs, "cp", "copy files between a container, running or not, and this host", copying.copy)
    copy.add_argument("-a", "--archive", action="store_true", help="keep owners; default: root there, you here")
    copy.add_argument("-L", "--follow-link", action="store_true", help="copy what a link at SOURCE leads to")
    copy.add_argument("source", metavar="SOURCE", help="CONTAINER:PATH, a path, or - for a tar stream")
    copy.add_argument("target", metavar="TARGET", help="the same")
    export = add(verbs, "export", "write a container's files as a tar archive", copying.export)
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    diff = add(verbs, "diff", "list what a container added (A), changed (C) and deleted (D) of its image", copying.diff)
    commit = add(verbs, "commit", "make an image of a container", copying.commit)
    commit.add_argument("-a", "--author", default="", metavar="TEXT")
    commit.add_argument("-m", "--message", default="", metavar="TEXT")
    commit.add_argument("-c", "--change", action="append", default=[], metavar="LINE", help="as 'CMD [\"/bin/sh\"]'")
    commit.add_argument("--pause", action=argparse.BooleanOptionalAction, default=True, help="while files are read")
    for command in (export, diff, commit):
        command.add_argument("container", metavar="CONTAINER")
    commit.add_argument("image", nargs="?", default="", metavar="IMAGE", help="its name; none by default")


def _images(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON document a line")
    command.set_defaults(act="list")
    acts = command.add_subparsers(metavar="ACT")
    load = acts.add_parser("load", help="import a `docker save` or OCI-layout tar, or a root file system as a tar")
    load.add_argument("file", metavar="FILE", help="a path; - reads standard input")
    load.add_argument("--name", default="", metavar="IMAGE", help="what to call a root file system")
    load.set_defaults(act="load")
    acts.add_parser("starter", help="make the starter image from this host's own files").set_defaults(act="starter")
    remove = acts.add_parser("rm", help="remove an image")
    remove.add_argument("images", nargs="+", metavar="IMAGE")
    remove.add_argument("-f", "--force", action="store_true")
    remove.set_defaults(act="rm")


def _volumes(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON document a line")
    command.set_defaults(act="list")
    acts = command.add_subparsers(metavar="ACT")
    for act, text in (("create", "make an empty volume"), ("rm", "remove volumes and what they hold")):
        verb = acts.add_parser(act, help=text)
        verb.add_argument("names", nargs="+", metavar="NAME")
        verb.set_defaults(act=act)


def _count(text: str) -> int | None:
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines")
    return int(text)
