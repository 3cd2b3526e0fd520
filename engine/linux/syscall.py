"""How a system call is made: by number, EINTR retried, failure an OSError that names the call and the path.

Numbers are those of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl in the kernel's source); from 424 on
they are the same on every architecture. Debian 12's libc and libseccomp know neither the newest calls
nor their numbers, so Wharfie keeps its own table: `engine.linux.numbers`.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any

from engine.linux.numbers import X86_64

LIBC = ctypes.CDLL(None, use_errno=True)

fd = flags = ctypes.c_int  # names for signatures
text = ctypes.c_char_p
pointer = ctypes.c_void_p
size = word = ctypes.c_ulong


def failure(code: int, call: str, path: str | bytes = "") -> OSError:
    """The OSError for an errno, with the call and the path it was about."""
    message = f"{call}: {os.strerror(code)}"
    return OSError(code, message, os.fsdecode(path)) if path else OSError(code, message)


class Syscall:
    """One system call with its argument types."""

    __slots__ = ("_function", "_name", "_number")

    def __init__(self, name: str, *argument_types: Any, hold_gil: bool = False) -> None:
        library = ctypes.PyDLL(None, use_errno=True) if hold_gil else LIBC
        self._function = library["syscall"]  # a new function object each time, with a signature of its own
        self._function.argtypes = (ctypes.c_long, *argument_types)
        self._function.restype = ctypes.c_long
        self._name = name
        self._number = X86_64[name]

    def __call__(self, *arguments: Any, path: str | bytes = "") -> int:
        while True:
            result: int = self._function(self._number, *arguments)
            if result != -1:
                return result
            code = ctypes.get_errno()
            if code != errno.EINTR:
                raise failure(code, self._name, path)
