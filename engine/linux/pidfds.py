"""Processes by descriptor: a number may be another process's by the time it is used; pidfd_open(2)."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct

from engine.linux import files, process

_PIDFD_GET_INFO, _PIDFD_INFO_EXIT = 0xC040FF0B, 8  # of 64 bytes; linux/pidfd.h


def of(pid: int) -> int:
    """A pidfd of the process that has this number now, which the caller closes; ProcessLookupError when none has.

    Of a number that is only a session's, a process group's or a thread's by now, kernels say EINVAL or ENOENT.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from error
        raise


def opened(pid: int, began: int) -> int | None:
    """A pidfd of the process that began at that time (`start_time`), which the caller closes; None when it is gone."""
    try:
        pidfd = of(pid)
    except ProcessLookupError:
        return None
    if process.start_time(pid) == began:  # asked once the number cannot be used again unseen
        return pidfd
    os.close(pidfd)
    return None


def kill(pid: int, began: int, number: int) -> None:
    """Send a signal to exactly this process; nothing when it has ended."""
    pidfd = opened(pid, began)
    if pidfd is None:
        return
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:  # it has just ended, and is not reaped
        return
    finally:
        os.close(pidfd)


def ended(pidfd: int, timeout_s: float | None = 0) -> bool:
    """Whether a process has ended, within ``timeout_s``; None waits for that. pidfd_open(2), "poll"."""
    return files.readable([pidfd], timeout_s)


def reaped(pidfd: int, timeout_s: float) -> int | None:
    """The wait status of a process that its parent, whoever that is, reaps within this time; else as `exit_status`."""
    poll = select.poll()
    poll.register(pidfd, 0)  # POLLHUP, which needs no asking: it was reaped; Linux 6.15
    poll.poll(timeout_s * 1000)
    return exit_status(pidfd)


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that was reaped, whoever did that; None before Linux 6.15, or when it is not dead.

    The descriptor must have been opened before it was reaped. PIDFD_GET_INFO, linux/pidfd.h.
    """
    info = bytearray(struct.pack("=Q", _PIDFD_INFO_EXIT) + bytes(56))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", info)
    return int(struct.unpack_from("=i", info, 60)[0]) if mask & _PIDFD_INFO_EXIT else None
