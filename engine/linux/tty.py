"""Pseudo-terminals of the devpts that this mount namespace has: pty(7), ioctl_tty(2)."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import termios

from engine.linux import files
from engine.linux.mount import AT_FDCWD

PTMX = (5, 2)
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441


def pair() -> tuple[int, int]:
    """(master, slave) of a new one. OSError when what is at /dev/pts is not what was mounted there."""
    master = files.openat2(
        AT_FDCWD, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY, resolve=files.NO_SYMLINKS | files.NO_MAGICLINKS
    )
    try:
        status = os.fstat(master)
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        if (
            not stat.S_ISCHR(status.st_mode)
            or device != PTMX
            or files.filesystem_magic(master) != files.DEVPTS_SUPER_MAGIC
        ):
            raise OSError("/dev/pts/ptmx is not a devpts multiplexer")
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        # By descriptor: no path of the container's leads to it.
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except BaseException:
        os.close(master)
        raise
    return master, slave


def control(slave: int) -> None:
    """Make it the controlling terminal of the calling session leader, which has none; TIOCSCTTY."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def resize(terminal: int, rows: int, columns: int) -> None:
    """Set its size; its foreground processes get SIGWINCH when that is a change. TIOCSWINSZ."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def size(terminal: int) -> tuple[int, int]:
    """(rows, columns); TIOCGWINSZ."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns
