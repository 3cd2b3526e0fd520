"""``wharfie backup`` and ``wharfie restore``."""

from __future__ import annotations

import sys
from argparse import Namespace

from console.outfile import outfile
from console.terminal import progress
from engine import Engine
from engine.backup.manifest import Manifest
from engine.config import Config
from engine.errors import InvalidRequest, KernelError


def backup(engine: Engine, options: Namespace) -> int:
    """Write it; a file is there when it is whole, and not before."""
    wanted = {"images": not options.no_images, "volumes": not options.no_volumes}
    if options.file == "-":
        if sys.stdout.isatty():
            raise InvalidRequest("a backup is no text for a terminal", hint="name a file, or redirect it")
        _tell(engine.backup(sys.stdout.buffer, progress=progress, **wanted))
        return 0
    with outfile(options.file, "the backup") as out:
        told = engine.backup(out, progress=progress, **wanted)
    _tell(told)
    return 0


def restore(options: Namespace) -> int:
    """Take it back."""
    from engine.backup.restore import restore as take_back

    config = Config.from_environment()
    if options.file == "-":
        _tell(take_back(config, sys.stdin.buffer, force=options.force, progress=progress))
        return 0
    try:
        with open(options.file, "rb") as source:
            _tell(take_back(config, source, force=options.force, progress=progress))
    except OSError as error:
        raise KernelError.from_os(error, "reading the backup", hint="name a file that is there") from error
    return 0


def purge(options: Namespace) -> int:
    """Stop all that runs, and delete the store."""
    from console.commands import down
    from engine.backup import purge as store

    config = Config.from_environment()
    if not options.yes:
        raise InvalidRequest(
            f"this deletes all containers, images, volumes and accounts in {config.root}", hint="say --yes"
        )
    code = down(options)
    if code == 0:
        try:
            store.purge(config)
        except OSError as error:
            raise KernelError.from_os(error, "deleting the store", hint="try it again") from error
    return code


def _tell(told: Manifest) -> None:
    for note in told.notes:
        print(f"wharfie: {note}", file=sys.stderr)
    left = f", without {' and '.join(told.left_out)}" if told.left_out else ""
    print(f"wharfie: {len(told.members)} parts{left}", file=sys.stderr)
