"""A hostile process that swaps two names for each other as fast as it can; renameat2(2) RENAME_EXCHANGE."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SWAP = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
top = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
first, second = map(os.fsencode, sys.argv[2:])
print("racing", flush=True)
while os.getppid() != 1:
    libc.renameat2(top, first, top, second, 2)
"""


@contextmanager
def racing(directory: Path, first: str, second: str) -> Iterator[None]:
    """While inside, two names of a directory are swapped without end."""
    command = [sys.executable, "-c", _SWAP, str(directory), first, second]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as racer:
        try:
            assert racer.stdout is not None
            assert racer.stdout.readline() == b"racing\n"
            yield
        finally:
            racer.kill()
