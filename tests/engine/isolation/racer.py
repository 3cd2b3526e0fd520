"""A hostile process that swaps two names for each other as fast as it can; renameat2(2) RENAME_EXCHANGE."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SWAP = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
top = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
first, second = map(os.fsencode, sys.argv[2:])
def swap():
    return libc.renameat2(top, first, top, second, 2) == 0
if not swap():
    sys.exit(os.strerror(ctypes.get_errno()))
going, swaps = True, 0
def stop(*_):
    global going
    going = False
signal.signal(signal.SIGTERM, stop)
print("racing", flush=True)
while going and os.getppid() != 1:
    swaps += swap()
print(swaps)
"""


@dataclass
class Race:
    """How often two names changed places while somebody walked them, known once it is over."""

    swaps: int = 0


@contextmanager
def racing(directory: Path, first: str, second: str, *, at_least: int = 1) -> Iterator[Race]:
    """While inside, two names of a directory are swapped without end; it fails where that did not happen."""
    command = [sys.executable, "-c", _SWAP, str(directory), first, second]
    race = Race()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as racer:
        try:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "racing\n", racer.stderr and racer.stderr.read()
            yield race
            racer.terminate()
            said, errors = racer.communicate(timeout=30)
            assert racer.returncode == 0, errors
            race.swaps = int(said)
            assert race.swaps >= at_least, "nobody raced"
        finally:
            racer.kill()
