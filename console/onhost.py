"""The commands by which somebody on this host starts, stops and asks this console: by how it was installed."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import NamedTuple

from engine import Config

DEFAULT_PREFIX = Path("/usr/local")


class Commands(NamedTuple):
    """What to type."""

    link: str
    wharfie: str  # what arguments go behind
    start: str
    stop: str  # "": Ctrl-C, where it runs
    down: str  # containers too
    in_directory: bool  # to be typed in Wharfie's own directory


def commands(top: Path) -> Commands:
    """Those of the Wharfie in this directory: a copy that `make install` made has no Makefile."""
    if (top / "Makefile").exists():
        return Commands(
            link="sudo make link",
            wharfie="sudo .venv/bin/python manage.py wharfie",
            start="sudo make run",
            stop="",
            down="sudo make down",
            in_directory=True,
        )
    prefix = top.parent.parent  # of lib/wharfie
    wharfie = "sudo wharfie" if prefix == DEFAULT_PREFIX else f"sudo {prefix}/sbin/wharfie"
    service = os.path.isdir("/run/systemd/system")  # as sd_booted(3) asks
    return Commands(
        link=f"{wharfie} setup_link",
        wharfie=wharfie,
        start="sudo systemctl start wharfie" if service else f"{wharfie} serve",
        stop="sudo systemctl stop wharfie" if service else "",
        down=f"{wharfie} down",
        in_directory=False,
    )


COMMANDS = commands(Path(__file__).resolve().parent.parent)


def here(known: Commands, root: Path, run: Path) -> Commands:
    """The same for a store that is elsewhere; what is installed reads its settings by itself."""
    places = (("WHARFIE_ROOT", root, Config.root), ("WHARFIE_RUN", run, Config.run))
    words = [f"{name}={shlex.quote(str(place))}" for name, place, usual in places if place != usual]
    if not known.in_directory or not words:
        return known

    def there(typed: str) -> str:
        return typed.replace("sudo ", f"sudo {' '.join(words)} ", 1)

    return known._replace(
        link=there(known.link), wharfie=there(known.wharfie), start=there(known.start), stop=there(known.stop),
        down=there(known.down),
    )  # fmt: skip
