"""Give up rights to files, the network and other processes for ever; landlock(7).

A second fence: it holds without namespaces and capabilities, for whoever should get out of them.
"""

from __future__ import annotations

import ctypes
import errno
import os

from engine.linux.syscall import Syscall, fd, flags, pointer, size

# LANDLOCK_ACCESS_FS_*; a right's number is its position.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = (1 << bit for bit in range(13, 16))

# How many of these rights each ABI version knows: 1 is Linux 5.13, 2 adds REFER, 3 TRUNCATE, 5 IOCTL_DEV.
_KNOWN_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_ALL_TCP = 0b11  # bind and connect; ABI 4
_ALL_SCOPES = 0b11  # abstract unix sockets and signals of others; ABI 6
_RULE_PATH_BENEATH, _VERSION = 1, 1

_create_ruleset = Syscall("landlock_create_ruleset", pointer, size, flags)
_add_rule = Syscall("landlock_add_rule", fd, flags, pointer, flags)
_restrict_self = Syscall("landlock_restrict_self", fd, flags)


class _RulesetAttr(ctypes.Structure):
    """struct landlock_ruleset_attr of linux/landlock.h."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneathAttr(ctypes.Structure):
    """struct landlock_path_beneath_attr, which is packed."""

    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """The ABI version of this kernel; 0 where Landlock is not built in or not switched on."""
    try:
        return _create_ruleset(None, 0, _VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return 0
        raise


def restrict(beneath: str, rights: int) -> bool:
    """Keep of all rights those of ``rights`` (a sum of the above), and those only at and below one directory.

    TCP, abstract sockets and signals of other processes are given up too, as far as the kernel knows how. For the
    calling thread and its children, for ever; it must have no_new_privs. False where there is no Landlock.
    """
    version = abi()
    if version == 0:
        return False
    known = (1 << _KNOWN_BITS.get(version, _KNOWN_BITS[max(_KNOWN_BITS)])) - 1
    attributes = _RulesetAttr(known, _ALL_TCP if version >= 4 else 0, _ALL_SCOPES if version >= 6 else 0)
    length = 8 * (1 if version < 4 else 2 if version < 6 else 3)
    ruleset = _create_ruleset(ctypes.addressof(attributes), length, 0)
    try:
        directory = os.open(beneath, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            rule = _PathBeneathAttr(rights & known, directory)
            _add_rule(ruleset, _RULE_PATH_BENEATH, ctypes.addressof(rule), 0, path=beneath)
        finally:
            os.close(directory)
        _restrict_self(ruleset, 0)
    finally:
        os.close(ruleset)
    return True
